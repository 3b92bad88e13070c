//! The same stream in other pieces, and to another parser.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::check::{heads_of_httparse, verdict};

/// Octets that are mostly requests: pieces of syntax in any order.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::sample::select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\n",
        "GET http://a/ HTTP/1.0\r\n",
        "Host: a\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
        "\r\n",
        "\r",
        "\n",
        " ",
        ":",
        ";",
        "0\r\n\r\n",
        "5\r\n12345\r\n",
        "a;b=\"c\"\r\n0123456789\r\n",
        "0\r\nX: y\r\n\r\n",
        "x",
        "\0",
        "\"",
    ]);
    let octet = any::<u8>().prop_map(|octet| vec![octet]);
    let piece = prop_oneof![20 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => octet];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_verdict_does_not_hang_on_the_pieces(
        octets in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = verdict(&octets, &[]);
        prop_assert_eq!(whole, verdict(&octets, &cuts));
        let single: Vec<usize> = (0..octets.len()).collect();
        prop_assert_eq!(whole, verdict(&octets, &single));
    }

    #[test]
    fn what_passes_is_the_same_to_httparse(octets in stream()) {
        let (good, _, heads) = verdict(&octets, &[]);
        // Up to where the scanner says yes, a laxer parser must see the very same messages.
        prop_assert_eq!(heads_of_httparse(&octets[..good]), Some(heads));
    }
}
