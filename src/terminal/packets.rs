//! What became of the packets of a command in a network namespace, in words.

use super::words::count;
use crate::recording::format::Packets;

/// `0 packets left, 3 could not pass (2 to UDP port 443, 1 ICMP)`
pub(crate) fn packets_text(packets: &Packets) -> String {
    let left = count(packets.left, "packet");
    let kinds = [
        (packets.quic, "to UDP port 443"),
        (packets.udp, "to other UDP ports"),
        (packets.icmp, "ICMP"),
        (packets.other, "of other protocols"),
    ];
    let kinds = kinds.into_iter().filter(|(number, _)| *number > 0);
    let kinds: Vec<String> = kinds
        .map(|(number, kind)| format!("{number} {kind}"))
        .collect();
    let mut text = match packets.blocked() {
        0 => format!("{left} left"),
        blocked => format!(
            "{left} left, {blocked} could not pass ({})",
            kinds.join(", ")
        ),
    };
    if packets.can_leave {
        text.push_str(
            "; that is no proof: the command was root outside of its namespace too, and could enter others",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_told_by_kind() {
        let mut packets = Packets::default();
        assert_eq!(packets_text(&packets), "0 packets left");
        (packets.quic, packets.other) = (2, 1);
        let text = "0 packets left, 3 could not pass (2 to UDP port 443, 1 of other protocols)";
        assert_eq!(packets_text(&packets), text);
        packets.left = 1;
        assert!(packets_text(&packets).starts_with("1 packet left, 3 "));
        packets.can_leave = true;
        assert!(packets_text(&packets).contains("); that is no proof: the command was root "));
    }
}
