//! `redial health`: asks a running server whether it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, Outcome, load};
use crate::config::Purpose;

/// Arguments of `redial health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The server; without it, the one that the configuration lets listen on this machine
    #[arg(long, env = "REDIAL_SERVER", value_name = "URL")]
    server: Option<String>,
}

/// Prints what `/readyz` says; exit code 0 if the server is ready (degraded included), else 1.
///
/// # Errors
/// The configuration is wrong, or the server cannot be reached.
pub async fn run(args: HealthArgs) -> Outcome {
    let server = match args.server {
        Some(server) => server,
        None => local(load(&args.config, Purpose::Administer)?.server.listen),
    };
    let client = super::http::client(Duration::from_secs(3))?;
    let response = client.get(format!("{}/readyz", server.trim_end_matches('/'))).send().await?;
    let ready = response.status().is_success();
    println!("{}", response.text().await?.trim());
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How a server that listens here is reached from this machine.
fn local(listen: SocketAddr) -> String {
    let here = match listen.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let address = if listen.ip().is_unspecified() { here } else { listen.ip() };
    format!("http://{}", SocketAddr::new(address, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_this_machine() {
        for (listen, server) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("0.0.0.0:19580", "http://127.0.0.1:19580"),
            ("[::]:80", "http://[::1]:80"),
            ("10.0.0.7:8080", "http://10.0.0.7:8080"),
        ] {
            assert_eq!(local(listen.parse().unwrap()), server);
        }
    }
}
