//! `tls_server_config` over real connections: clients' certificates, versions, suites, HTTP/2, and handshakes that nobody
//! finishes.

use std::sync::Arc;
use std::time::Duration;

use rcgen::SanType;
use reqwest::{Version, tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::site::{Authority, DEADLINE, Site, TLS, identity};

/// A connection after its handshake, with these application protocols.
pub(crate) async fn connect(site: &Site, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.authority.0.pem().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(site.address()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn clients_show_what_they_are_asked_for() {
    let stranger = Authority::new();
    for (kind, nobody, known, strange) in [
        ("NoClientCert", true, true, true),
        ("RequestClientCert", true, true, true),
        ("RequireAnyClientCert", false, true, true),
        ("RequireClientCert", false, true, true),
        ("VerifyClientCertIfGiven\n  client_ca_file: ca.pem", true, true, false),
        ("RequireAndVerifyClientCert\n  client_ca_file: ca.pem", false, true, false),
    ] {
        for version in ["TLS12", "TLS13"] {
            let site = Site::new(&format!("{TLS}  max_version: {version}\n  client_auth_type: {kind}\n")).await;
            let clients = [
                (site.client(), nobody),
                (site.client().identity(site.authority.client()), known),
                (site.client().identity(stranger.client()), strange),
            ];
            for (number, (client, expected)) in clients.into_iter().enumerate() {
                let answer = site.get(client, "/metrics").await;
                assert_eq!(answer.is_ok(), expected, "{kind} {version}, client {number}: {answer:?}");
            }
            site.running.stop().await;
        }
    }
}

#[tokio::test]
async fn names_of_clients_are_compared_letter_by_letter() {
    let name = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let allowed = "[prometheus.example, 192.0.2.7, '2001:db8::7', ops@example.org, 'spiffe://example.org/prometheus']";
    let site = Site::new(&format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: {allowed}\n"
    ))
    .await;
    for (names, expected) in [
        (vec![name("prometheus.example")], true),
        (vec![name("other.example"), name("prometheus.example")], true),
        (vec![SanType::IpAddress("192.0.2.7".parse().unwrap())], true),
        (vec![SanType::IpAddress("2001:db8::7".parse().unwrap())], true),
        (vec![SanType::Rfc822Name("ops@example.org".try_into().unwrap())], true),
        (vec![SanType::URI("spiffe://example.org/prometheus".try_into().unwrap())], true),
        (vec![name("other.example")], false),
        (vec![name("*.example")], false),
        (vec![name("a.prometheus.example")], false),
        (vec![SanType::IpAddress("192.0.2.8".parse().unwrap())], false),
        (vec![SanType::URI("spiffe://example.org/prometheus/".try_into().unwrap())], false),
        (vec![], false),
    ] {
        let told = format!("{names:?}");
        let client = site.client().identity(identity(site.authority.certify(names)));
        assert_eq!(site.get(client, "/metrics").await.is_ok(), expected, "{told}");
    }
    assert!(site.get(site.client(), "/metrics").await.is_err(), "no certificate at all");
    let stranger = Authority::new().client();
    assert!(
        site.get(site.client().identity(stranger), "/metrics").await.is_err(),
        "the right name, certified by nobody"
    );
    site.running.stop().await;
}

#[tokio::test]
async fn versions_are_limited() {
    use tls::Version as V;
    for (keys, old, new) in [
        ("", true, true),
        ("  min_version: TLS13\n", false, true),
        ("  max_version: TLS12\n", true, false),
        ("  min_version: TLS12\n  max_version: TLS13\n", true, true),
    ] {
        let site = Site::new(&format!("{TLS}{keys}")).await;
        for (version, expected) in [(V::TLS_1_2, old), (V::TLS_1_3, new)] {
            let client = site.client().tls_version_min(version).tls_version_max(version);
            assert_eq!(site.get(client, "/-/healthy").await.is_ok(), expected, "{keys} {version:?}");
        }
        site.running.stop().await;
    }
}

#[tokio::test]
async fn suites_and_groups_are_those_of_the_file() {
    let keys = "  max_version: TLS12\n  curve_preferences: [CurveP521, CurveP384]\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA]\n";
    let site = Site::new(&format!("{TLS}{keys}")).await;
    let stream = connect(&site, &[]).await;
    let agreed = stream.get_ref().1;
    let cipher = agreed.negotiated_cipher_suite().unwrap().suite().as_str();
    assert_eq!(cipher, Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    assert_eq!(format!("{:?}", agreed.negotiated_key_exchange_group().unwrap().name()), "secp384r1");
    drop(stream);
    site.running.stop().await;
}

#[tokio::test]
async fn http2_is_offered_unless_it_is_off() {
    for (keys, version) in [
        ("", Version::HTTP_2),
        ("http_server_config: { http2: true }\n", Version::HTTP_2),
        ("http_server_config: { http2: false }\n", Version::HTTP_11),
    ] {
        let site = Site::new(&format!("{TLS}{keys}")).await;
        let answer = site.get(site.client(), "/metrics").await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version), "{keys}");
        assert!(answer.text().await.unwrap().contains("contact_center_exporter_build_info"));
        let answer = site.get(site.client().http1_only(), "/metrics").await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11), "{keys}");
        // Routes and limits are the same.
        let long = site.client().default_headers(
            [("x-long".parse().unwrap(), "x".repeat(17 * 1024).parse().unwrap())].into_iter().collect(),
        );
        assert_eq!(site.get(long, "/-/healthy").await.unwrap().status(), 431, "{keys}");
        assert_eq!(site.get(site.client(), "/nowhere").await.unwrap().status(), 404);
        site.running.stop().await;
    }
    let site = Site::new("http_server_config: { http2: true }\n").await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    assert!(client.get(format!("http://{}/metrics", site.address())).send().await.is_err(), "not without TLS");
    site.running.stop().await;
}

/// A client of HTTP/2 takes a body after HEAD for a broken connection.
#[tokio::test]
async fn head_is_answered_without_a_body() {
    let site = Site::new(TLS).await;
    for (path, status) in [("/metrics", 200), ("/", 200), ("/-/healthy", 200), ("/-/reload", 405), ("/nowhere", 404)] {
        for (client, version) in [(site.client(), Version::HTTP_2), (site.client().http1_only(), Version::HTTP_11)] {
            let request = client.build().unwrap().head(format!("https://{}{path}", site.address()));
            // The client takes a length away that is that of compressed bytes.
            let answer = request.header("accept-encoding", "identity").send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (status, version), "{path}");
            let length = answer.headers()["content-length"].to_str().unwrap().parse::<u64>();
            assert!(length.as_ref().is_ok_and(|length| *length > 0), "{path} {length:?}");
            assert_eq!(answer.text().await.unwrap(), "", "{path} {version:?}");
        }
    }
    site.running.stop().await;
}

/// Who connects and says nothing neither stays nor keeps anybody waiting, nor who speaks plain text.
#[tokio::test]
async fn a_handshake_has_ten_seconds_and_nobody_waits_for_it() {
    let site = Site::new(TLS).await;
    let started = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(site.address()).await.unwrap());
    }
    assert_eq!(site.get(site.client(), "/metrics").await.unwrap().status(), 200);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(plain.get(format!("http://{}/metrics", site.address())).send().await.is_err());
    for stream in &mut silent {
        let end = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await.expect("it is hung up");
        assert_eq!(end.unwrap_or(0), 0);
    }
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    // Nor does the end wait for one.
    let _silent = TcpStream::connect(site.address()).await.unwrap();
    assert_eq!(site.get(site.client(), "/metrics").await.unwrap().status(), 200);
    let started = Instant::now();
    site.running.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

/// After the handshake the limits are those of plain connections.
#[tokio::test]
async fn who_asks_nothing_over_tls_is_hung_up() {
    let site = Site::new(TLS).await;
    let started = Instant::now();
    let (mut old, mut new) = (connect(&site, &[b"http/1.1"]).await, connect(&site, &[b"h2"]).await);
    assert_eq!(old.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(new.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // What HTTP/2 begins with, and then no request.
    new.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    old.write_all(b"GET /metrics HTTP/1.1\r\nhost").await.unwrap();
    for stream in [&mut old, &mut new] {
        let mut told = Vec::new();
        let end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut told)).await;
        assert!(end.is_ok(), "it is still open");
    }
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    site.running.stop().await;
}
