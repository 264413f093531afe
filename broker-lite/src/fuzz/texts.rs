//! What an operator writes, and certificates.

use super::fuzz;
use crate::{
    config::Config,
    security::{dn, jaas, listeners, mapping::Mapping},
};

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn settings() {
    let samples = texts(&[
        "# a comment\nlisteners=PLAINTEXT://127.0.0.1:9092,B://[::1]:0\nnode.id=7\nlog.dirs=/a,/b\n",
        "listener.security.protocol.map=A:PLAINTEXT,B:SASL_SSL\nadvertised.listeners=A://b:1\n",
        "listener.name.b.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"b\";\n",
        "listener.name.b.oauthbearer.sasl.oauthbearer.clock.skew.seconds=5\nmax.connection.creation.rate=7\n",
        "super.users=User:a;User:CN=b,O=c\nssl.principal.mapping.rules=RULE:^CN=(.*?),.*$/$1/L,DEFAULT\n",
        "log.retention.ms=-1\nmessage.max.bytes=1000012\nconnections.max.idle.ms=-1\n",
        "node.id = 7\nlisteners = [\"IN://127.0.0.1:1\"]\n[listener.name.in]\n\"ssl.client.auth\" = \"none\"\n",
        "SCRAM-SHA-512=[name=ann,password=a=b,iterations=8192]",
    ]);
    fuzz(0x5345_5453, &samples, |_, bytes| {
        let text = String::from_utf8_lossy(&bytes);
        let mut config = Config::new("127.0.0.1:0", "/data");
        drop(config.apply_toml(&text));
        drop(config.add_scram(&text));
        // Each line by itself, so that a wrong one hides none.
        for line in text.lines() {
            drop(config.apply_file(line));
        }
        drop(listeners::Plan::all(&config));
    });
}

#[test]
fn lines() {
    let samples = texts(&[
        "PLAINTEXT://127.0.0.1:9092, sasl_ssl://[::1]:0,ADMIN://:9094",
        "A:PLAINTEXT,B:SASL_SSL,CONTROLLER:SSL",
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"b \\\" ; c\" user_d=e;",
        "x.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"x\";",
        "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,DEFAULT",
        "CN=\\ caf\u{e9}\\ ,OU=a\\+b\\=\\\"c\\\",O=Acme\\, Inc.,C=CH",
    ]);
    fuzz(0x4c49_4e45, &samples, |fuzzer, bytes| {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(all) = listeners::parse(&text) {
            let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
            assert_eq!(listeners::parse(&shown.join(",")), Some(all), "{text:?}");
        }
        drop(listeners::protocols(&text));
        drop(jaas::plain_users(&text));
        drop(jaas::options(&text, "OAuthBearerLoginModule"));
        if let Ok(mapping) = Mapping::parse(&text) {
            drop(mapping.apply(&String::from_utf8_lossy(fuzzer.sample())));
        }
    });
}

#[test]
fn certificates() {
    let mut params = rcgen::CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "caf\u{e9}, \"x\"");
    params
        .distinguished_name
        .push(rcgen::DnType::OrganizationName, "Acme");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    fuzz(0x4345_5254, &[certificate], |_, bytes| {
        drop(dn::subject(&bytes));
    });
}
