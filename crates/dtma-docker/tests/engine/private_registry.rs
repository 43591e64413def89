//! Pulls from a real registry that asks who we are: Debian's `docker-registry`, which `cargo xtask test` installs.

use crate::harness::{Harness, docker_host};
use dtma_core::id::ImageRef;
use dtma_core::port::runtime::{ContainerRuntime, RuntimeError};
use dtma_core::spec::PullPolicy;
use dtma_docker::{DockerRuntime, RegistryLogins, Settings};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const USER: &str = "dtma";
/// Three question marks make a `/` in the base64 of the header whatever stands before them.
const PASSWORD: &str = "p???:ok~";
/// bcrypt of it: the one kind that this registry reads.
const HTPASSWD: &str = "dtma:$2y$05$abcdefghijklmnopqrstuuDV.KKMk3XEICQa.eolUqmzroFzypcba\n";
const IMAGE: &str = "dtma/busybox:dev";

/// A registry on the loopback with one private image.
struct PrivateRegistry {
    child: Child,
    address: String,
    dir: tempfile::TempDir,
}

impl Drop for PrivateRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PrivateRegistry {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("its users");
        std::fs::write(dir.path().join("config.yml"), configuration(dir.path())).expect("its configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(dir.path().join("config.yml"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("docker-registry is installed: run `cargo xtask test`");
        let stderr = child.stderr.take().expect("its log is a pipe");
        let address = listening(stderr).expect("it says where it listens");
        Self { child, address, dir }
    }

    fn image(&self, tag: &str) -> ImageRef {
        format!("{}/private/it:{tag}", self.address).as_str().into()
    }

    /// A `config.json` with this password.
    fn config(&self, password: &str) -> String {
        let login = serde_json::json!({"username": USER, "password": password});
        serde_json::json!({"auths": {&self.address: login}}).to_string()
    }

    /// Puts the image there with Docker's own client, and forgets it here.
    fn stock(&self, tag: &str) {
        let config = serde_json::json!({"auths": {&self.address: {"auth": base64_of_the_login()}}});
        std::fs::write(self.dir.path().join("config.json"), config.to_string()).expect("the client's login");
        let image = self.image(tag);
        for words in
            [&["tag", IMAGE, image.as_str()][..], &["push", image.as_str()], &["rmi", image.as_str()]]
        {
            self.docker(words);
        }
    }

    fn docker(&self, words: &[&str]) {
        let mut docker = Command::new("docker");
        docker.arg("--config").arg(self.dir.path()).args(words).env("DOCKER_HOST", docker_host());
        let done = docker.output().expect("docker");
        assert!(done.status.success(), "docker {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// An adapter that knows this password, or none.
    fn client(&self, harness: &Harness, password: Option<&str>) -> DockerRuntime {
        let text = password.map_or_else(|| "{}".to_owned(), |password| self.config(password));
        let registries = RegistryLogins::parse(&text).expect("a config.json");
        let host = Some(harness.host());
        let settings = Settings { host, registries, ..Settings::new(harness.owner_id().clone()) };
        DockerRuntime::connect(settings).expect("connect")
    }
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {dir}/data}}}}\n\
         http: {{addr: \"127.0.0.1:0\"}}\nauth: {{htpasswd: {{realm: test, path: {dir}/htpasswd}}}}\n"
    )
}

/// `… msg="listening on 127.0.0.1:41234" …`. The rest of its log is read by a thread of its own.
fn listening(log: impl std::io::Read + Send + 'static) -> Option<String> {
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(['"', ' ', ',']).next().map(str::to_owned)
    });
    std::thread::spawn(move || lines.for_each(drop));
    address
}

fn base64_of_the_login() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"))
}

#[track_caller]
fn is_missing(
    answer: Result<dtma_core::container::ImageFacts, RuntimeError>,
    image: &ImageRef,
    remedy: &str,
) {
    let Err(RuntimeError::ImageMissing { image: named, problem }) = answer else { panic!("{answer:?}") };
    assert_eq!(named, *image);
    assert!(problem.contains(remedy), "{problem}");
    assert!(!problem.contains(PASSWORD), "{problem}");
}

#[tokio::test]
async fn a_private_registry_gives_its_images_to_whom_it_knows_and_says_what_is_missing() {
    let (harness, registry) = (Harness::new().await, PrivateRegistry::start());
    registry.stock("1");
    let (image, nobody) = (registry.image("1"), registry.client(&harness, None));
    let pull = async |client: &DockerRuntime, image: &ImageRef| {
        client.ensure_image(image, PullPolicy::Always, None, &|_| {}).await
    };
    is_missing(
        pull(&nobody, &image).await,
        &image,
        "give the daemon credentials for it (--registry-auth FILE)",
    );
    let wrong = registry.client(&harness, Some("wrong"));
    let remedy = format!("{} does not accept the credentials", registry.address);
    is_missing(pull(&wrong, &image).await, &image, &remedy);

    let known = registry.client(&harness, Some(PASSWORD));
    let facts = pull(&known, &image).await.expect("a pull");
    let absent = registry.image("absent");
    is_missing(pull(&known, &absent).await, &absent, "check the name and the tag");
    let by_digest = ImageRef::from(facts.digest.clone().expect("it came from a registry"));
    assert!(by_digest.as_str().contains("@sha256:"), "{by_digest}");
    registry.docker(&["rmi", image.as_str()]);
    assert_eq!(pull(&known, &by_digest).await.map(|again| again.id), Ok(facts.id));
    registry.docker(&["rmi", by_digest.as_str()]);
    harness.leave().await;
}
