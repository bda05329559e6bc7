//! A PostgreSQL server for the tests, wherever one is to be had: named in the environment, running on this machine, in Docker, or started
//! from installed programs. What the tests start, they stop, also when they are killed.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use testcontainers::core::{IntoContainerPort, WaitFor, client::docker_client_instance};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::OnceCell;

use crate::support::wait_for;

/// The environment variable that names a server: a URL whose user may create databases.
const VARIABLE: &str = "REDIAL_TEST_DATABASE_URL";
/// Where a server of this machine usually listens.
const LOCAL: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// The server of this run. Its keeper lives as long as the process.
struct Server {
    admin_url: String,
    _keeper: Option<Keeper>,
}

/// What stops a server once this process is gone: a shell that waits for the end of its input.
struct Keeper {
    _shell: Child,
    _container: Option<ContainerAsync<GenericImage>>,
}

/// The URL of the server's `postgres` database, for a user who may create others.
pub(crate) async fn admin_url() -> String {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(find).await.admin_url.clone()
}

async fn find() -> Server {
    if let Ok(admin_url) = std::env::var(VARIABLE) {
        return Server { admin_url, _keeper: None };
    }
    if answers(LOCAL).await {
        return Server { admin_url: LOCAL.to_owned(), _keeper: None };
    }
    if let Some(server) = in_docker().await {
        return server;
    }
    if let Some(programs) = installed_programs() {
        return from_programs(&programs).await;
    }
    panic!(
        "these tests need PostgreSQL 13 or newer: name a server in {VARIABLE}, run one on 127.0.0.1:5432 that lets the user postgres \
         in, run Docker, or install it (Debian: apt-get install postgresql)"
    );
}

async fn answers(url: &str) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(3), PgConnection::connect(url)).await, Ok(Ok(_)))
}

/// A server in a container. Without Docker, or where the image cannot be had, there is none.
async fn in_docker() -> Option<Server> {
    let docker = docker_client_instance().await.ok()?;
    tokio::time::timeout(Duration::from_secs(3), docker.ping()).await.ok()?.ok()?;
    let container = GenericImage::new("postgres", "17")
        .with_exposed_port(5432.tcp())
        .with_wait_for(WaitFor::seconds(1))
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .start()
        .await
        .ok()?;
    let port = container.get_host_port_ipv4(5432.tcp()).await.ok()?;
    let admin_url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    // The image starts a first server to set itself up, which does not listen on the network.
    wait_for("PostgreSQL in Docker answers", || async { answers(&admin_url).await.then_some(()) }).await;
    let shell = keeper(&format!("docker rm -f {}", container.id()));
    Some(Server { admin_url, _keeper: Some(Keeper { _shell: shell, _container: Some(container) }) })
}

/// The folder of the newest installed server programs.
fn installed_programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            let programs = entry.path().join("bin");
            programs.join("initdb").exists().then_some((version, programs))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs)
}

/// A server of our own: private folder, free port, gone with this process.
async fn from_programs(programs: &Path) -> Server {
    let folder = tempfile::Builder::new().prefix("redial-test-").tempdir().unwrap().keep();
    let runner = Runner::for_folder(&folder);
    let (data, log) = (folder.join("data"), folder.join("log"));
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    runner.run(
        &programs.join("initdb"),
        &["-D", text(&data), "-U", "postgres", "-A", "trust", "--no-locale", "-E", "UTF8"],
    );
    let settings =
        format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={}", folder.display());
    let pg_ctl = programs.join("pg_ctl");
    runner.run(&pg_ctl, &["-D", text(&data), "-l", text(&log), "-o", &settings, "-w", "start"]);
    let stop = format!("{} -D {} -m immediate stop", runner.command_line(&pg_ctl), data.display());
    let shell = keeper(&format!("{stop}; rm -rf {}", folder.display()));
    let admin_url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    wait_for("our PostgreSQL answers", || async { answers(&admin_url).await.then_some(()) }).await;
    Server { admin_url, _keeper: Some(Keeper { _shell: shell, _container: None }) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// As whom the server's programs run: they refuse to run as root.
enum Runner {
    Myself,
    Postgres,
}

impl Runner {
    /// Whoever may run them, made the owner of their folder.
    fn for_folder(folder: &Path) -> Self {
        let id = Command::new("id").arg("-u").output().unwrap();
        if id.stdout.trim_ascii() != b"0" {
            return Self::Myself;
        }
        run(Command::new("chown").arg("postgres").arg(folder));
        Self::Postgres
    }

    fn run(&self, program: &Path, arguments: &[&str]) {
        let mut command = match self {
            Self::Myself => Command::new(program),
            Self::Postgres => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
        };
        run(command.args(arguments).current_dir("/"));
    }

    fn command_line(&self, program: &Path) -> String {
        match self {
            Self::Myself => program.display().to_string(),
            Self::Postgres => format!("runuser -u postgres -- {}", program.display()),
        }
    }
}

/// Runs a program to its end. Its output goes nowhere but into the panic: a server that it starts would hold a pipe open.
fn run(command: &mut Command) {
    let mut said = tempfile::tempfile().unwrap();
    let output = said.try_clone().unwrap();
    let status = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).status();
    if !matches!(&status, Ok(status) if status.success()) {
        let mut text = String::new();
        drop(std::io::Seek::rewind(&mut said).and_then(|()| said.read_to_string(&mut text)));
        panic!("{command:?} failed: {status:?}\n{text}");
    }
}

/// A shell that runs a command once this process is gone, however it ends: then the other end of its input is closed.
fn keeper(command: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("trap '' INT TERM HUP; cat >/dev/null; {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
