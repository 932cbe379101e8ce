//! Where a run takes place: on the host as the Servant's own user, or in the surroundings of an instance, with its
//! environment and in the folder of its release.

use super::EXEC_VARIABLE;
use super::words::RunOrder;
use crate::keeper::InstanceFolder;
use crate::release::ReleaseFolder;
use crate::release::build::base_environment;
use crate::spec::Spec;
use events::exec::Stdio;
use events::view::AssignedExec;
use events::{InstanceId, ServantName};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is known of this host.
#[derive(Clone, Debug)]
pub struct Places {
    pub servant: ServantName,
    pub instances: PathBuf,
    pub releases: PathBuf,
    /// Where programs are looked for.
    pub path: String,
}

impl Places {
    /// What is to be run for a run, and where.
    ///
    /// # Errors
    /// Why it cannot be: the reason is told to whoever asked.
    pub fn order(&self, assigned: &AssignedExec) -> Result<RunOrder, String> {
        let (mut environment, directory) = match assigned.instance {
            Some(instance) => self.of_instance(instance)?,
            None => (base_environment(Path::new("/"), &self.path), PathBuf::from("/")),
        };
        environment.insert("KING_SERVANT".to_owned(), self.servant.to_string());
        environment.insert(EXEC_VARIABLE.to_owned(), assigned.exec.to_string());
        let terminal = match &assigned.stdio {
            Stdio::Terminal(terminal) => {
                environment.insert("TERM".to_owned(), terminal.term.clone());
                true
            }
            Stdio::Discard | Stdio::Output | Stdio::Input => false,
        };
        Ok(RunOrder { arguments: assigned.command.clone(), environment, directory, terminal })
    }

    fn of_instance(&self, instance: InstanceId) -> Result<(BTreeMap<String, String>, PathBuf), String> {
        let folder = InstanceFolder::new(&self.instances, instance);
        let spec: Spec = folder
            .spec()
            .ok_or_else(|| format!("the instance {instance} is not on this servant any more"))?;
        let tree = ReleaseFolder::new(&self.releases, &spec.key).tree;
        // A container has what it runs in its image, and nothing unpacked here.
        if !tree.is_dir() {
            let what = "has no folder here: commands are not run inside containers yet";
            return Err(format!("the instance {instance} {what}; run it on the servant {}", self.servant));
        }
        let mut environment = base_environment(&tree, &self.path);
        environment.extend(spec.environment(0));
        Ok((environment, tree))
    }
}
