# Clients of other languages: Python (confluent-kafka, aiokafka), Node (kafkajs), Go (franz-go, sarama, segmentio). Each makes topics,
# produces in all codecs it has, consumes in a group of two, and commits and aborts transactions if it can.
suite() {
    broker num.partitions=1
    : >"$out/clients.log"
    local own="$root/tests/suites/clients"
    {
        [ -d "$out/venv" ] || python3 -m venv "$out/venv"
        "$out/venv/bin/pip" install -q confluent-kafka==2.16.1 aiokafka==0.14.0 cramjam
        PYTHONPATH="$root/tests/suites" "$out/venv/bin/python" -u "$own/client_confluent.py" "$address" || echo "failed confluent"
        PYTHONPATH="$root/tests/suites" "$out/venv/bin/python" -u "$own/client_aiokafka.py" "$address" || echo "failed aiokafka"
        mkdir -p "$out/node" && cp "$own/kafkajs.mjs" "$out/node"
        (cd "$out/node" && npm install --silent --no-fund --no-audit kafkajs@2.2.4 && node kafkajs.mjs "$address") || echo "failed kafkajs"
        (cd "$own/go" && go run . "$address") || echo "failed go"
    } 2>&1 | tee -a "$out/clients.log" | sed -nE 's/^(ok|failed) ([^ :]+).*/\1 \2/p'
}
