//! TLS at the door, with certificates made on the spot.

use crate::house::House;
use crate::wire::exchange;
use dtma_api::ServeLimits;
use dtma_api::tls::{Tls, TlsPem};
use dtma_client::{Client, ClientBuilder, Error};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// An authority that signs what it is asked to.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, as PEM.
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Signed {
    fn pem<'a>(&'a self, client_ca: Option<&'a str>) -> TlsPem<'a> {
        TlsPem {
            certificate: self.certificate.as_bytes(),
            key: self.key.as_bytes(),
            client_ca: client_ca.map(str::as_bytes),
        }
    }
}

async fn house(tls: &Arc<Tls>) -> House {
    let limits = ServeLimits { handshake: Duration::from_millis(500), ..ServeLimits::default() };
    House::with_tls(limits, Some(Arc::clone(tls))).await
}

fn client(house: &House, authority: &Authority) -> ClientBuilder {
    let url = format!("https://127.0.0.1:{}", house.address.port());
    Client::builder(url).token("admin".into()).certificate_authority(authority.pem().into())
}

#[tokio::test]
async fn a_client_that_knows_the_authority_is_answered_and_no_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = Arc::new(Tls::new(ours.sign("127.0.0.1").pem(None)).unwrap());
    let house = house(&tls).await;
    let client_of = |authority| client(&house, authority).build().unwrap();
    assert_eq!(client_of(&ours).list_groups().await.unwrap().groups.len(), 0);
    let refused = client_of(&theirs).list_groups().await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused:?}");
    assert_eq!(client_of(&ours).get_health().await.unwrap(), "OK");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_so_and_closed() {
    let tls = Arc::new(Tls::new(Authority::new().sign("127.0.0.1").pem(None)).unwrap());
    let house = house(&tls).await;
    let answer = exchange(house.address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.contains("https://")), (400, true), "{answer:?}");
}

#[tokio::test]
async fn a_handshake_that_is_never_ended_is_let_go() {
    let authority = Authority::new();
    let tls = Arc::new(Tls::new(authority.sign("127.0.0.1").pem(None)).unwrap());
    let house = house(&tls).await;
    let mut silent = TcpStream::connect(house.address).await.unwrap();
    let mut half = TcpStream::connect(house.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut half, b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    assert_eq!(client(&house, &authority).build().unwrap().get_health().await.unwrap(), "OK");
    for stream in [&mut silent, &mut half] {
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the connection stays open");
    }
}

#[tokio::test]
async fn where_a_client_certificate_is_asked_for_none_and_a_strangers_are_refused() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let tls = Arc::new(Tls::new(ours.sign("127.0.0.1").pem(Some(&ours.pem()))).unwrap());
    let house = house(&tls).await;
    let shows = |signed: &Signed| {
        let (certificate, key) = (signed.certificate.clone().into(), signed.key.clone().into());
        client(&house, &ours).identity(certificate, key).build().unwrap()
    };
    assert_eq!(shows(&ours.sign("agent")).get_health().await.unwrap(), "OK");
    assert!(client(&house, &ours).build().unwrap().get_health().await.is_err());
    assert!(shows(&theirs.sign("agent")).get_health().await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_served_while_an_open_connection_goes_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = Arc::new(Tls::new(old.sign("127.0.0.1").pem(None)).unwrap());
    let house = house(&tls).await;
    let before = client(&house, &old).build().unwrap();
    assert_eq!(before.get_health().await.unwrap(), "OK");

    let (good, key) = (new.sign("127.0.0.1"), old.sign("127.0.0.1").key);
    let mixed = Signed { certificate: good.certificate.clone(), key };
    assert!(tls.replace(mixed.pem(None)).is_err());
    assert!(client(&house, &old).build().unwrap().get_health().await.is_ok(), "a bad pair changes nothing");

    tls.replace(good.pem(None)).unwrap();
    assert_eq!(before.get_health().await.unwrap(), "OK", "its connection is still open");
    assert!(client(&house, &old).build().unwrap().get_health().await.is_err());
    assert_eq!(client(&house, &new).build().unwrap().get_health().await.unwrap(), "OK");
}
