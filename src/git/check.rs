//! What holds for any bytes of a client or a recording: for a fuzz target and its twin.

use super::request::LsRefs;
use super::{Advertisement, Command, Refs, Request, asks_for_v2, error_line, unpack};

/// Whatever is read of any bytes can be told again.
pub fn protocol(bytes: &[u8]) {
    if let Some(request) = Request::parse(bytes) {
        assert!(!request.key.is_empty());
        assert_eq!(Request::parse(bytes), Some(request.clone()));
        if let Command::Fetch(fetch) = request.command {
            assert!(
                fetch
                    .wants
                    .iter()
                    .chain(&fetch.shallow)
                    .all(|id| super::is_object_id(id))
            );
        }
    }
    let all = LsRefs {
        symrefs: true,
        peel: true,
        ..LsRefs::default()
    };
    let mut refs = Refs::default();
    if refs.add_answer(&all, bytes) {
        let told = refs.answer(&all).expect("all refs are known");
        let mut again = Refs::default();
        assert!(again.add_answer(&all, &told[..]));
        assert_eq!(again.answer(&all), Some(told));
    }
    if let Some(advertisement) = Advertisement::parse(bytes) {
        let mut refs = Refs::default();
        let is_v2 = advertisement.is_v2;
        refs.add_advertisement(advertisement);
        assert_eq!(refs.answer(&all).is_none(), is_v2);
    }
    let mut pack = Vec::new();
    if let Ok(packed) = unpack(bytes, &mut pack) {
        assert_eq!(packed.bytes, pack.len() as u64);
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = asks_for_v2(&text);
    assert!(error_line(&text).len() < 1100);
}

#[cfg(test)]
mod tests {
    #[test]
    fn twin() {
        crate::hostile::twin("git_protocol", 1_500, super::protocol);
    }
}
