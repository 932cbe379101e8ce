//! Users of the host, as `/etc/passwd` and `/etc/group` name them.

use crate::holder::words::UserOrder;
use std::io;

/// The numbers of a user and of all groups that it is in.
///
/// # Errors
/// When there is no such user, or the files cannot be read.
pub fn find(name: &str) -> io::Result<UserOrder> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let groups = std::fs::read_to_string("/etc/group")?;
    parse(name, &users, &groups).ok_or_else(|| {
        let reason =
            format!("this host has no user {name:?} in /etc/passwd; add it there, or name another as `user`");
        io::Error::new(io::ErrorKind::NotFound, reason)
    })
}

fn parse(name: &str, users: &str, groups: &str) -> Option<UserOrder> {
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line[0] == name)?;
    let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
    let in_it = groups.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let number = fields.get(2)?.parse::<u32>().ok()?;
        fields.get(3)?.split(',').any(|member| member == name).then_some(number)
    });
    let mut groups: Vec<u32> = in_it.filter(|number| *number != gid).collect();
    groups.insert(0, gid);
    Some(UserOrder { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_own_group_first() {
        let users = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\n";
        let groups = "root:x:0:\nlogs:x:40:daemon,web\nweb:x:34:web\nbad\n";
        assert_eq!(parse("web", users, groups), Some(UserOrder { uid: 33, gid: 34, groups: vec![34, 40] }));
        assert_eq!(parse("we", users, groups), None);
        assert!(find("no-such-user").unwrap_err().to_string().contains("/etc/passwd"));
    }
}
