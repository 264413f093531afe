import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.zip.CRC32C;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * An independent reader: prints every committed record of some topics, one line each, in the form that
 * `tests/scenarios/model.rs` computes from what it produced:
 *
 *   topic TAB partition TAB offset TAB timestamp|key|value|header=value;header=value
 *
 * where bytes are `length:crc32c` and `-` is null. Usage: Dump BOOTSTRAP TOPIC...
 */
public class Dump {
    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("isolation.level", "read_committed");
        p.put("key.deserializer", ByteArrayDeserializer.class.getName());
        p.put("value.deserializer", ByteArrayDeserializer.class.getName());
        p.put("max.poll.records", "5000");
        // Else a look at a topic that is not there yet creates it, with one partition and no configs.
        p.put("allow.auto.create.topics", "false");
        StringBuilder out = new StringBuilder();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (int i = 1; i < args.length; i++) {
                consumer.partitionsFor(args[i]).forEach(t -> partitions.add(new TopicPartition(t.topic(), t.partition())));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(t -> consumer.position(t) < ends.get(t))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    print(out, r);
                    if (out.length() > 1 << 20) {
                        System.out.print(out);
                        out.setLength(0);
                    }
                }
            }
        }
        System.out.print(out);
    }

    private static void print(StringBuilder out, ConsumerRecord<byte[], byte[]> r) {
        out.append(r.topic()).append('\t').append(r.partition()).append('\t').append(r.offset()).append('\t');
        out.append(r.timestamp()).append('|').append(digest(r.key())).append('|').append(digest(r.value())).append('|');
        String separator = "";
        for (Header h : r.headers()) {
            out.append(separator).append(h.key()).append('=').append(digest(h.value()));
            separator = ";";
        }
        out.append('\n');
    }

    private static String digest(byte[] bytes) {
        if (bytes == null) return "-";
        CRC32C crc = new CRC32C();
        crc.update(bytes);
        return bytes.length + ":" + Long.toHexString(crc.getValue());
    }
}
