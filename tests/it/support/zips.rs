//! Zips that tests make up.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::CompressionMethod;

/// A zip of these files.
pub fn zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut zip = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, content) in files {
        let file = zip.new_file(*name).compression_method(method);
        let (mut entry, config) = file.start().expect("a file");
        let descriptor = if method == CompressionMethod::STORE {
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content).expect("a vector takes all");
            writer.finish().expect("a file").1
        } else {
            let encoder = DeflateEncoder::new(&mut entry, Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(content).expect("a vector takes all");
            let (encoder, descriptor) = writer.finish().expect("a file");
            encoder.finish().expect("a file");
            descriptor
        };
        entry.finish(descriptor).expect("a file");
    }
    zip.finish().expect("a zip")
}
