//! What kingctl says when NATS is there and no King is.

use kingdom_tests::command::{self, Ended};
use kingdom_tests::nats::{Server, Syncing};
use kingdom_tests::ports::Ports;
use kingdom_tests::programs;

async fn kingctl(server: &Server, arguments: &[&str]) -> Ended {
    let mut kingctl = tokio::process::Command::new(programs::kingdom("kingctl"));
    kingctl.args(["--nats", &server.url(), "--timeout", "1s"]).args(arguments);
    command::run(kingctl).await
}

#[tokio::test]
async fn it_says_how_to_start_one_or_to_leave_the_command() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ports = Ports::reserve();
    let mut server = Server::prepare(folder.path(), folder.path(), ports.nats(), Syncing::Always);
    server.start().await;

    let said = kingctl(&server, &["app", "ls"]).await.failure(1);
    assert!(said.contains("no King is alive") && said.contains("make up"), "{said}");
    assert!(!said.contains("nats pub"), "a question cannot be left: {said}");
    let said = kingctl(&server, &["app", "create", "shop"]).await.failure(1);
    assert!(said.contains("nats pub king.queue.app.create"), "{said}");
    assert!(said.contains("was not done"), "nobody heard it, so that is certain: {said}");
}
