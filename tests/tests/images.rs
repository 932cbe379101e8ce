//! Images on real engines: held by the kingdom, built once from a Dockerfile, pulled from a registry.

use kingdom_tests::apps::File;
use kingdom_tests::engine::{Engine, Registry, capable, page};
use kingdom_tests::{Kingdom, Plan, wait};
use serde_json::{Value, json};

const SERVE: &str = "exec httpd -f -p 8080 -h /www";

async fn kingdom(engines: &[&Engine]) -> Kingdom {
    let engines: Vec<_> = engines.iter().map(|engine| engine.socket()).collect();
    let servants = u16::try_from(engines.len()).expect("a few");
    let kingdom = Kingdom::with(Plan { servants, engines, ..Plan::default() }).await;
    capable(&kingdom, usize::from(servants)).await;
    kingdom
}

async fn serve(kingdom: &Kingdom, app: &str, count: usize, body: &str) {
    wait::until(&format!("{count} of {app} serve"), async || {
        let instances = kingdom.client.ask("instance.ls", json!({ "app": app })).await?;
        wait::holds(instances.len() == count, || format!("{instances:?}"))?;
        for instance in &instances {
            let found = page(instance).await?;
            wait::holds(found == body, || found)?;
        }
        Ok::<_, String>(())
    })
    .await;
}

async fn kinds(kingdom: &Kingdom, kind: &str) -> usize {
    kingdom.client.events().await.iter().filter(|event| event.fact.kind() == kind).count()
}

#[tokio::test]
async fn an_image_that_the_kingdom_holds_runs_on_servants_whose_engines_never_saw_it() {
    let (first, second) = (Engine::start().await, Engine::start().await);
    let kingdom = kingdom(&[&first, &second]).await;
    let yaml: &str = format!(
        "processes:\n  web:\n    image: shop/page:1\n    command: {SERVE}\n    ports: [http: 8080]\n"
    )
    .leak();
    let repository = kingdom.repository("shop", &[("king.yaml", yaml)]).await;
    repository.publish("v1.0.0").await;

    let tar = kingdom.path().join("page.tar").display().to_string();
    first.docker(&["tag", "tiny:1", "shop/page:1"]).await;
    first.docker(&["save", "-o", &tar, "shop/page:1"]).await;
    first.docker(&["rmi", "shop/page:1"]).await;
    kingdom.kingctl(&["image", "add", "shop", "shop/page:1", &tar]).await.success();
    kingdom.kingctl(&["image", "add", "shop", "shop/page:1", &tar]).await.success();
    assert_eq!(kinds(&kingdom, "app.image-added").await, 1, "the same again is no news");
    assert_eq!(kingdom.kingctl(&["image", "ls", "shop"]).await.success(), "shop/page:1\n");
    let other = kingdom.path().join("other.tar").display().to_string();
    first.docker(&["save", "-o", &other, "tiny:1"]).await;
    let refused = kingdom.kingctl(&["image", "add", "shop", "shop/page:1", &other]).await.failure(4);
    assert!(refused.contains("an image never changes"), "{refused}");

    kingdom.kingctl(&["app", "deploy", "shop@1.0.0", "--count", "2", "--wait"]).await.success();
    serve(&kingdom, "shop", 2, kingdom_tests::engine::PAGE).await;
    assert_eq!((first.running().await.len(), second.running().await.len()), (1, 1), "one on each");
}

const DOCKERFILE: &str = "FROM tiny:1\nCOPY page.html /www/index.html\nRUN echo built > /www/built\n";

const BUILT: &[File] = &[
    (
        "king.yaml",
        "processes:\n  web:\n    image: { build: Dockerfile }\n    command: exec httpd -f -p 8080 -h /www\n    ports: [http: 8080]\n    health: { path: /built }\n",
    ),
    ("Dockerfile", DOCKERFILE),
    ("page.html", "from a Dockerfile\n"),
];

#[tokio::test]
async fn a_dockerfile_is_built_once_and_the_other_servant_loads_what_it_made() {
    let (first, second) = (Engine::start().await, Engine::start().await);
    let kingdom = kingdom(&[&first, &second]).await;
    kingdom.deploy("page", BUILT, 4).await;
    serve(&kingdom, "page", 4, "from a Dockerfile\n").await;
    assert_eq!((first.running().await.len(), second.running().await.len()), (2, 2), "two on each");
    assert_eq!(kinds(&kingdom, "version.image-built").await, 1);
    assert_eq!(kinds(&kingdom, "instance.started").await, 4, "nothing was started twice for it");
    let mut built = 0;
    for engine in [&first, &second] {
        built += engine.docker(&["images", "--quiet", "kingdom.local/building"]).await.lines().count();
    }
    assert_eq!(built, 1, "one of them built it");
}

#[tokio::test]
async fn a_build_that_fails_says_its_last_lines() {
    let engine = Engine::start().await;
    let kingdom = kingdom(&[&engine]).await;
    let files: &[File] =
        &[BUILT[0], ("Dockerfile", "FROM tiny:1\nRUN echo the disk of the moon is full && exit 3\n")];
    let repository = kingdom.repository("broken", files).await;
    repository.publish("v1.0.0").await;
    let ended = kingdom.kingctl(&["app", "deploy", "broken@1.0.0", "--wait=60s"]).await;
    assert!(ended.code != 0 && ended.stderr.contains("the disk of the moon is full"), "{}", ended.stderr);
    let failed = kingdom.instances("broken").await.remove(0);
    assert_eq!(failed["phase"], Value::from("failed"), "{failed}");
    assert!(engine.containers("label=king.instance").await.is_empty());
}

#[tokio::test]
async fn an_image_is_pulled_from_its_registry() {
    let engine = Engine::start().await;
    let registry = Registry::start().await;
    let kingdom = kingdom(&[&engine]).await;
    let name = format!("127.0.0.1:{}/page:1", registry.port);
    engine.docker(&["tag", "tiny:1", &name]).await;
    engine.docker(&["push", &name]).await;
    engine.docker(&["rmi", &name]).await;
    let yaml: &str =
        format!("processes:\n  web:\n    image: {name}\n    command: {SERVE}\n    ports: [http: 8080]\n")
            .leak();
    kingdom.deploy("pulled", &[("king.yaml", yaml)], 1).await;
    serve(&kingdom, "pulled", 1, kingdom_tests::engine::PAGE).await;
}
