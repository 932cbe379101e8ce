use super::*;
use crate::app_events::place::{Place, Teller};
use crate::spec::ReleaseKey;
use events::view::AssignedProcess;
use events::{Digest, ImageName};
use uuid::Uuid;

fn servant() -> ServantId {
    ServantId(Uuid::from_u128(7))
}

fn spec(volumes: Vec<Volume>) -> Spec {
    let image = AssignedImage::Named("shop/web:1".parse::<ImageName>().unwrap());
    let [http, admin] = ["http", "admin"].map(|name| name.parse::<events::PortName>().unwrap());
    Spec {
        instance: InstanceId(Uuid::from_u128(1)),
        key: ReleaseKey {
            app: "shop".parse().unwrap(),
            release: 3,
            archive: Digest::ZERO,
            image: Some(image.clone()),
        },
        version: "1.0.0".parse().unwrap(),
        build: None,
        process: "web".parse().unwrap(),
        ports: BTreeMap::from([(http.clone(), 20_000), (admin.clone(), 20_001)]),
        how: AssignedProcess {
            command: Some(events::manifest::CommandLine::Exec(vec!["serve".into(), "-v".into()])),
            container: Some(AssignedContainer {
                image,
                ports: BTreeMap::from([(http.clone(), 80)]),
                volumes,
            }),
            env: BTreeMap::from([("A".into(), "b".into())]),
            ports: vec![http, admin],
            health: None,
            restart: events::manifest::Restart::Always,
            stop_grace_ms: 1000,
            errors: None,
            supervision: events::manifest::Supervision::default(),
            workers: None,
        },
        restarts: 0,
    }
}

fn start(volumes: Vec<Volume>) -> Start {
    Start { spec: spec(volumes), servant: "s1".parse().unwrap(), events: None }
}

fn instance() -> InstanceId {
    InstanceId(Uuid::from_u128(1))
}

fn volume(text: &str) -> Volume {
    text.parse().unwrap()
}

#[test]
fn a_container_is_shut_in_and_published_on_the_loopback_alone() {
    let shape = Shape::of(&start(vec![volume("data:/data:ro")]), servant(), 4).unwrap();
    assert_eq!(shape.name, format!("king-{}-4", InstanceId(Uuid::from_u128(1))));
    let host = shape.body.host_config.clone().unwrap();
    assert!(is_shut_in(&host, instance()), "{host:?}");
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    let ports = host.port_bindings.unwrap();
    for (inside, outside) in [("80/tcp", "20000"), ("20001/tcp", "20001")] {
        let binding = &ports[inside].as_ref().unwrap()[0];
        assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(binding.host_port.as_deref(), Some(outside));
    }
    let env = shape.body.env.unwrap();
    for variable in ["A=b", "PORT=80", "PORT_HTTP=80", "PORT_ADMIN=20001", "KING_APP=shop", "KING_SERVANT=s1"]
    {
        assert!(env.iter().any(|own| own == variable), "{variable} in {env:?}");
    }
    assert_eq!(shape.body.entrypoint, Some(vec!["serve".to_owned(), "-v".to_owned()]));
    let mount = &host.mounts.unwrap()[0];
    assert_eq!((mount.source.as_deref(), mount.read_only), (Some("king.shop.data"), Some(true)));
}

#[test]
fn a_folder_of_the_host_is_refused_whoever_asks() {
    for source in ["/etc", "/var/run/docker.sock", "..", "./x", "a/b"] {
        let hostile = Volume { name: source.into(), path: "/x".into(), access: VolumeAccess::ReadWrite };
        let refused = Shape::of(&start(vec![hostile]), servant(), 1).unwrap_err();
        assert!(refused.to_string().contains("a path of the host"), "{refused}");
    }
}

#[test]
fn a_container_that_could_get_out_is_not_taken_over() {
    let fine = host_config(&spec(Vec::new()), spec(Vec::new()).how.container.as_ref().unwrap(), None);
    assert!(is_shut_in(&fine, instance()));
    let host = || Some("host".to_owned());
    for open in [
        HostConfig { privileged: Some(true), ..fine.clone() },
        HostConfig { network_mode: host(), ..fine.clone() },
        HostConfig { pid_mode: host(), ..fine.clone() },
        HostConfig { ipc_mode: host(), ..fine.clone() },
        HostConfig { binds: Some(vec!["/:/host".into()]), ..fine.clone() },
        HostConfig { devices: Some(vec![bollard::models::DeviceMapping::default()]), ..fine.clone() },
        HostConfig { cap_add: Some(vec!["SYS_ADMIN".into()]), ..fine.clone() },
        HostConfig { security_opt: None, ..fine.clone() },
        HostConfig {
            mounts: Some(vec![Mount { typ: Some(MountType::BIND), ..Mount::default() }]),
            ..fine.clone()
        },
        HostConfig { mounts: Some(vec![Mount { read_only: Some(false), ..events() }]), ..fine.clone() },
        HostConfig { mounts: Some(vec![Mount { source: Some("/etc".into()), ..events() }]), ..fine.clone() },
        HostConfig { mounts: Some(vec![Mount { target: Some("/etc".into()), ..events() }]), ..fine.clone() },
    ] {
        assert!(!is_shut_in(&open, instance()), "{open:?}");
    }
}

fn events() -> Mount {
    let data = tempfile::tempdir().unwrap();
    let place = Place::open(data.path(), servant()).unwrap();
    bound(&place.of(instance(), Teller::Container))
}

#[test]
fn a_container_has_the_sockets_of_its_instance_and_no_other() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::open(data.path(), servant()).unwrap();
    let paths = place.of(instance(), Teller::Container);
    let start = Start { events: Some(paths.clone()), ..start(Vec::new()) };
    let shape = Shape::of(&start, servant(), 1).unwrap();
    let told = "KING_EVENTS_STREAM=/run/king/events/s".to_owned();
    assert!(shape.body.env.unwrap().contains(&told));
    let host = shape.body.host_config.unwrap();
    assert_eq!(host.mounts.clone().unwrap()[0].source.as_deref(), paths.folder.to_str());
    assert!(is_shut_in(&host, instance()));
    assert!(!is_shut_in(&host, InstanceId(Uuid::from_u128(2))));
}

#[test]
fn only_what_carries_the_servants_own_labels_is_its_own() {
    let own = Labels { servant: servant(), instance: None };
    let labels = |servant: &str| {
        HashMap::from([
            (SERVANT.to_owned(), servant.to_owned()),
            (INSTANCE.to_owned(), "i".to_owned()),
            (RUN.to_owned(), "3".to_owned()),
        ])
    };
    assert_eq!(own.matching(&labels(&servant().to_string())), Some(("i".to_owned(), 3)));
    assert_eq!(own.matching(&labels("another")), None);
    assert_eq!(own.matching(&HashMap::new()), None);
    let one = Labels { instance: Some(InstanceId(Uuid::from_u128(1))), ..own };
    assert_eq!(one.matching(&labels(&servant().to_string())), None);
}
