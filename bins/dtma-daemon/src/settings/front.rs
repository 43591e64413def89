//! The settings of the front door: how far it reaches, TLS, how many may come and how often.

use super::{File, Sources};
use crate::cli::SettingArgs;
use crate::tls::TlsFiles;
use dtma_api::limit::Rates;
use dtma_api::{Front, ServeLimits};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What the system's file descriptors allow at the utmost.
const MOST_CONNECTIONS: usize = 100_000;

impl Sources<'_> {
    pub(super) fn limits(&mut self, args: &SettingArgs, file: &File) -> ServeLimits {
        let usual = ServeLimits::default();
        let most = args.max_connections.or(file.max_connections).unwrap_or(usual.connections);
        let of_one = args.max_connections_per_peer.or(file.max_connections_per_peer);
        for (id, value) in [("max_connections", most), ("max_connections_per_peer", of_one.unwrap_or(1))] {
            if !(1..=MOST_CONNECTIONS).contains(&value) {
                self.report(id, format!("{value} is not from 1 to {MOST_CONNECTIONS}"));
            }
        }
        ServeLimits { connections: most, per_peer: of_one.unwrap_or(usual.per_peer), ..usual }
    }

    pub(super) fn rates(&mut self, args: &SettingArgs, file: &File) -> Rates {
        let usual = Rates::default();
        let mut rate =
            |id, arg: &Option<String>, file: &Option<String>, usual| match arg.clone().or(file.clone()) {
                Some(text) => self.parsed(id, Some(text), "").unwrap_or(usual),
                None => usual,
            };
        Rates {
            mutations: rate("rate_mutations", &args.rate_mutations, &file.rate_mutations, usual.mutations),
            reads: rate("rate_reads", &args.rate_reads, &file.rate_reads, usual.reads),
            gateway: rate("rate_gateway", &args.rate_gateway, &file.rate_gateway, usual.gateway),
            failures: rate("rate_failures", &args.rate_failures, &file.rate_failures, usual.failures),
        }
    }

    /// What clients are told of the daemon's address and of who gives out tokens.
    pub(super) fn front(&mut self, args: &SettingArgs, file: &mut File) -> Front {
        let public = args.public_url.clone().or(file.public_url.take());
        let public = public.and_then(|url| self.parsed("public_url", Some(url), ""));
        let said = match args.authorization_servers.is_empty() {
            true => file.authorization_servers.take().unwrap_or_default(),
            false => args.authorization_servers.clone(),
        };
        let servers = said.into_iter().filter_map(|url| self.parsed("authorization_servers", Some(url), ""));
        Front { public, authorization_servers: servers.collect() }
    }

    /// Certificate and key, or neither; a client authority only with them.
    pub(super) fn tls(
        &mut self,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        client_ca: Option<PathBuf>,
    ) -> Option<TlsFiles> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key, client_ca }),
            (Some(_), None) => {
                self.report("tls_cert", "it needs its private key: give --tls-key".to_owned());
                None
            }
            (None, Some(_)) => {
                self.report("tls_key", "it needs its certificate: give --tls-cert".to_owned());
                None
            }
            (None, None) => {
                if client_ca.is_some() {
                    self.report("tls_client_ca", "it needs TLS: give --tls-cert and --tls-key".to_owned());
                }
                None
            }
        }
    }

    pub(super) fn check_reach(&mut self, listen: SocketAddr, dev_no_auth: bool, may_go_out: bool) {
        if listen.ip().is_loopback() {
            return;
        }
        if dev_no_auth {
            self.report("dev_no_auth", "it is allowed on loopback only".to_owned());
        }
        if !may_go_out {
            let problem = format!(
                "{listen} is not on loopback: tokens would travel in clear; give --tls-cert and --tls-key, or say --insecure-http if a TLS proxy or tunnel stands in front"
            );
            self.report("listen", problem);
        }
    }
}
