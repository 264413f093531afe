//! Bearer tokens by librdkafka, on broker-lite: its own unsecured ones, and some that a callback makes.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use broker_lite::{Broker, Config};
use host::Host;
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    client::{ClientContext, OAuthToken},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};

const PATIENCE: Duration = Duration::from_secs(10);
const LISTENERS: &str =
    "listeners=SASL_PLAINTEXT://127.0.0.1:0\nsasl.enabled.mechanisms=OAUTHBEARER\n";

async fn start(folder: &tempfile::TempDir, settings: &str) -> Broker {
    let mut config = Config::new("127.0.0.1:0", folder.path().join("data"));
    config.apply_file(LISTENERS).unwrap();
    config.apply_file(settings).unwrap();
    Broker::start(config, Host::real()).await.unwrap()
}

fn client(broker: &Broker, more: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.address().to_string())
        .set("security.protocol", "SASL_PLAINTEXT")
        .set("sasl.mechanism", "OAUTHBEARER")
        .set("group.id", "bearer");
    for (name, value) in more {
        config.set(*name, *value);
    }
    config
}

/// Writes a record, and reads it again.
fn there_and_back<C>(config: &ClientConfig, context: impl Fn() -> C)
where
    C: ProducerContext<DeliveryOpaque = ()> + ConsumerContext + 'static,
{
    let producer: BaseProducer<C> = config.create_with_context(context()).unwrap();
    let record = BaseRecord::<(), str>::to("t").payload("hello");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    let consumer: BaseConsumer<C> = config.create_with_context(context()).unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("t", 0, rdkafka::Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let read = consumer.poll(PATIENCE).unwrap().unwrap();
    assert_eq!(read.payload(), Some(&b"hello"[..]));
}

#[derive(Clone)]
struct Plain;
impl ClientContext for Plain {}
impl ConsumerContext for Plain {}
impl ProducerContext for Plain {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn unsecured_tokens_of_librdkafka_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let jaas = "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"kafka\";";
    let broker = start(&folder, jaas).await;
    let config = client(
        &broker,
        &[
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
            ("sasl.oauthbearer.config", "principal=ann scope=a"),
        ],
    );
    tokio::task::spawn_blocking(move || there_and_back(&config, || Plain))
        .await
        .unwrap();
    broker.stop().await.unwrap();
}

/// Asks for tokens of the issuer.
#[derive(Clone)]
struct Bearer {
    issuer: Arc<EcdsaKeyPair>,
    audience: &'static str,
}

impl ClientContext for Bearer {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let expires = now + 600;
        let claims = format!(
            r#"{{"sub":"ann","aud":"{}","iat":{now},"exp":{expires}}}"#,
            self.audience
        );
        let signed = format!(
            "{}.{}",
            BASE64.encode(r#"{"alg":"ES256"}"#),
            BASE64.encode(claims)
        );
        let signature = self.issuer.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| "not signed")?;
        Ok(OAuthToken {
            token: format!("{signed}.{}", BASE64.encode(signature)),
            principal_name: "ann".to_owned(),
            lifetime_ms: i64::try_from(expires * 1000)?,
        })
    }
}

impl ConsumerContext for Bearer {}
impl ProducerContext for Bearer {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_tokens_let_in_and_those_for_others_do_not() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let issuer = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
    let (x, y) = issuer.public_key().as_ref()[1..].split_at(32);
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    let text = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}]}}"#,
        BASE64.encode(x),
        BASE64.encode(y)
    );
    std::fs::write(&jwks, text).unwrap();
    let settings = format!(
        "sasl.oauthbearer.jwks.endpoint.url=file://{}\nsasl.oauthbearer.expected.audience=broker-lite\n",
        jwks.display()
    );
    let broker = start(&folder, &settings).await;
    let config = client(&broker, &[]);
    let issuer = Arc::new(issuer);
    let bearer = move |audience| Bearer {
        issuer: Arc::clone(&issuer),
        audience,
    };
    tokio::task::spawn_blocking(move || {
        there_and_back(&config, || bearer("broker-lite"));
        let stranger: BaseProducer<Bearer> =
            config.create_with_context(bearer("somebody")).unwrap();
        let metadata = stranger
            .client()
            .fetch_metadata(None, Duration::from_secs(3));
        assert!(metadata.is_err(), "a token for somebody else");
    })
    .await
    .unwrap();
    broker.stop().await.unwrap();
}
