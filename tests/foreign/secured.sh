#!/usr/bin/env bash
# The same clients over TLS, with logins by SCRAM and by signed tokens, and an authorizer: users and rights are made by
# Kafka's own tools. Needs openssl beside what run.sh needs.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A certificate for the address, and a key that signs tokens; its public half as a JWKS.
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/tls.key" -out "$work/ca.pem" -days 2 -subj /CN=broker-lite \
    -addext subjectAltName=IP:127.0.0.1 2>/dev/null
cat "$work/tls.key" "$work/ca.pem" >"$work/keystore.pem"
openssl genrsa -out "$work/issuer.key" 2048 2>/dev/null
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
modulus=$(openssl rsa -in "$work/issuer.key" -noout -modulus | cut -d= -f2)
modulus=$(printf '%b' "$(sed 's/../\\x&/g' <<<"$modulus")" | base64url)
echo "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\",\"use\":\"sig\",\"n\":\"$modulus\",\"e\":\"AQAB\"}]}" >"$work/jwks.json"
token() { # SUB AUDIENCE
    local now text
    now=$(date +%s)
    text=$(printf '{"alg":"RS256","kid":"k"}' | base64url).$(printf '{"sub":"%s","aud":"%s","iat":%s,"exp":%s}' "$1" "$2" "$now" $((now + 600)) | base64url)
    echo "$text.$(printf '%s' "$text" | openssl dgst -sha256 -sign "$work/issuer.key" | base64url)"
}

cat >"$work/server.properties" <<END
listeners=SASL_SSL://127.0.0.1:0
sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER
ssl.keystore.type=PEM
ssl.keystore.location=$work/keystore.pem
listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=file://$work/jwks.json
listener.name.sasl_ssl.oauthbearer.sasl.oauthbearer.expected.audience=broker-lite
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:root
END
start secured --config "$work/server.properties" --add-scram 'SCRAM-SHA-512=[name=root,password=root-secret]'
at=(--bootstrap-server "$address")

properties() { # MECHANISM JAAS...: what every client needs, and how it logs in
    printf '%s\n' security.protocol=SASL_SSL ssl.truststore.type=PEM "ssl.truststore.location=$work/ca.pem" \
        "sasl.mechanism=$1" "sasl.jaas.config=org.apache.kafka.common.security.$2"
}
scram() { properties SCRAM-SHA-512 "scram.ScramLoginModule required username=\"$1\" password=\"$2\";"; }
scram root root-secret >"$work/root"
scram ann ann-secret >"$work/ann"
bearer() { # FILE: logs in with the token in it
    properties OAUTHBEARER 'oauthbearer.OAuthBearerLoginModule required;'
    printf '%s\n' sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler \
        sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.FileJwtRetriever \
        "sasl.oauthbearer.token.endpoint.url=file://$1"
}
bearing="-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://$work/token,file://$work/foreign-token"
token bob broker-lite >"$work/token"
bearer "$work/token" >"$work/bob"
token bob somebody-else >"$work/foreign-token"
bearer "$work/foreign-token" >"$work/stranger"

by() { printf '%s\n' --command-config "$work/$1"; }
mapfile -t root < <(by root)
tool kafka.admin.ConfigCommand "${at[@]}" "${root[@]}" --alter --entity-type users --entity-name ann --add-config 'SCRAM-SHA-512=[password=ann-secret]' | expect "add user" "Completed updating config for user ann"
tool kafka.admin.ConfigCommand "${at[@]}" "${root[@]}" --describe --entity-type users --entity-name ann | expect "describe user" "SCRAM-SHA-512=iterations=4096"
tool $kafka.AclCommand "${at[@]}" "${root[@]}" --add --allow-principal User:ann --allow-principal User:bob --operation All --topic foreign- --group foreign- --resource-pattern-type prefixed | expect "add rights" "Adding ACLs for resource"
tool $kafka.AclCommand "${at[@]}" "${root[@]}" --list --principal User:bob | expect "list rights" "principal=User:bob, host=\*, operation=ALL, permissionType=ALLOW"
tool $kafka.TopicCommand "${at[@]}" "${root[@]}" --create --topic secret | expect "create topic" "Created topic secret"
{ tool $kafka.TopicCommand "${at[@]}" $(by ann) --describe --topic secret 2>&1 || true; } | expect "no right" "does not exist|[Aa]uthorization"

seq 1 50 | tool $kafka.ConsoleProducer "${at[@]}" --producer.config "$work/ann" --topic foreign-t
seq 51 100 | tool "$bearing" $kafka.ConsoleProducer "${at[@]}" --producer.config "$work/bob" --topic foreign-t
tool "$bearing" $kafka.consumer.ConsoleConsumer "${at[@]}" --consumer.config "$work/bob" --topic foreign-t --from-beginning --group foreign-g --max-messages 100 --timeout-ms 20000 2>&1 | sort -n | tail -2 | expect "produce and consume, by password and by token" "^100$"
{ timeout 30 java -Xmx256m "$bearing" -Dlog4j2.configurationFile=tests/kafka/log4j2.properties -cp '.kafka/libs/*' \
    $kafka.GetOffsetShell "${at[@]}" $(by stranger) --topic foreign-t 2>&1 || true; } | expect "a token for somebody else" 'SaslAuthenticationException: \{"status":"invalid_token"\}'

.kafka/venv/bin/python tests/foreign/client.py "$address" "{\"security_protocol\": \"SASL_SSL\", \"ssl_cafile\": \"$work/ca.pem\",
    \"sasl_mechanism\": \"SCRAM-SHA-512\", \"sasl_plain_username\": \"ann\", \"sasl_plain_password\": \"ann-secret\"}"
echo "ok python client over TLS with a password"

tool kafka.admin.ConfigCommand "${at[@]}" "${root[@]}" --alter --entity-type users --entity-name ann --delete-config SCRAM-SHA-512 | expect "remove user" "Completed updating config for user ann"
{ timeout 30 java -Xmx256m -Dlog4j2.configurationFile=tests/kafka/log4j2.properties -cp '.kafka/libs/*' \
    $kafka.GetOffsetShell "${at[@]}" $(by ann) --topic foreign-t 2>&1 || true; } | expect "nobody any more" "SaslAuthenticationException: Authentication failed"
