//! The version in the path of a request. The library agrees on one and then sends paths without it
//! (<https://github.com/fussybeaver/bollard/issues/736>), which means the engine's newest, whatever was agreed on.

use bollard::{BollardRequest, ClientVersion};

/// The same request for this version: `/v1.41/containers/json`.
pub fn versioned(mut request: BollardRequest, version: &ClientVersion) -> BollardRequest {
    let (major, minor) = (version.major_version, version.minor_version);
    let uri = request.uri();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    if path.starts_with(&format!("/v{major}.")) {
        return request;
    }
    let (scheme, host) =
        (uri.scheme_str().unwrap_or("unix"), uri.authority().map_or("", |host| host.as_str()));
    *request.uri_mut() = format!("{scheme}://{host}/v{major}.{minor}{path}")
        .parse()
        .expect("a path with a prefix of letters and digits is a path");
    request
}

#[cfg(test)]
mod tests {
    use crate::container::engine::Engine;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    /// What the library sends after an engine of this version was asked; the answers are real ones, cut short.
    async fn path_for(api: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let version = format!(r#"{{"Version":"20.10.24","ApiVersion":"{api}"}}"#);
        let answering = tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap().to_owned();
                seen.push(line);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", version.len());
                stream.write_all((head + &version).as_bytes()).await.unwrap();
            }
            seen.pop().unwrap()
        });
        assert_eq!(Engine::new(socket).version().await.unwrap(), "20.10.24");
        answering.await.unwrap()
    }

    #[tokio::test]
    async fn requests_name_the_version_that_both_sides_speak() {
        assert_eq!(path_for("1.41").await, "GET /v1.41/version HTTP/1.1");
        let newest = path_for("1.99").await;
        let ours = bollard::API_DEFAULT_VERSION;
        assert_eq!(newest, format!("GET /v{}.{}/version HTTP/1.1", ours.major_version, ours.minor_version));
    }
}
