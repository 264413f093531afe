# MirrorMaker 2 between two brokers: topics, configs, rights, group offsets, and its exactly-once mode.
suite() {
    local rights=(authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
        allow.everyone.if.no.acl.found=true super.users=User:ANONYMOUS) source
    broker "${rights[@]}" && source=$address
    broker "${rights[@]}"
    python3 -u "$root/tests/suites/mirrormaker.py" "$source" "$address" "$root" "$work" 2>&1 | tee "$out/mirrormaker.log" |
        sed -nE 's/^(ok|failed) ([^ :]+).*/\1 \2/p'
}
