//! The program behind a `--web.config.file`, with certificates made for the test.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use contact_center_exporter::web::Access;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use reqwest::{Certificate, Identity};
use tempfile::TempDir;

use super::support::{Running, noon, write};

/// What turns TLS on.
pub(crate) const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
/// The rest of an exporter.yml that starts.
pub(crate) const ACCOUNT: &str = "vendors: { wolkvox: [{ account: co, base_url: 'http://127.0.0.1:9', token: t, reports: { agent_hold_mute: { interval: 1h } } }] }\n";
/// Nothing takes longer, however busy the machine is.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// An authority and those whom it has certified.
pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, as PEM.
    pub(crate) fn certify(&self, names: Vec<SanType>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names;
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) fn server(&self) -> (String, String) {
        self.certify(vec![SanType::IpAddress("127.0.0.1".parse().unwrap())])
    }

    pub(crate) fn client(&self) -> Identity {
        identity(self.certify(vec![SanType::DnsName("prometheus.example".try_into().unwrap())]))
    }
}

pub(crate) fn identity((certificate, key): (String, String)) -> Identity {
    Identity::from_pem(format!("{certificate}{key}").as_bytes()).unwrap()
}

/// A folder with everything that the files name.
pub(crate) fn folder(authority: &Authority) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.server();
    write(folder.path(), "server.pem", certificate);
    write(folder.path(), "server.key", key);
    write(folder.path(), "other.key", authority.server().1);
    write(folder.path(), "ca.pem", authority.0.pem());
    write(folder.path(), "junk", "hunter2");
    folder
}

/// The program behind this file.
pub(crate) struct Site {
    pub(crate) authority: Authority,
    pub(crate) running: Running,
}

impl Site {
    pub(crate) async fn new(web: &str) -> Self {
        Self::with(Authority::new(), web, false).await
    }

    pub(crate) async fn with(authority: Authority, web: &str, exempt_health: bool) -> Self {
        let folder = folder(&authority);
        let access =
            Access::load(&write(folder.path(), "web.yml", web), exempt_health).unwrap_or_else(|e| panic!("{e}"));
        let running = Running::start_guarded(folder, ACCOUNT, &noon(), access).await;
        Self { authority, running }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    pub(crate) fn path(&self) -> &Path {
        self.running.folder.path()
    }

    /// A client that trusts the site's authority.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        let root = Certificate::from_pem(self.authority.0.pem().as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().timeout(DEADLINE).tls_certs_only([root])
    }

    pub(crate) async fn get(
        &self,
        client: reqwest::ClientBuilder,
        path: &str,
    ) -> Result<reqwest::Response, reqwest::Error> {
        client.build().unwrap().get(format!("https://{}{path}", self.address())).send().await
    }
}
