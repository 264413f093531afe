//! Compression of a batch's records, with a cap on what comes out.
//!
//! * gzip: RFC 1952, one or several members.
//! * snappy: the blocks of snappy-java (`SnappyOutputStream`: an 8-byte magic, two versions, then
//!   blocks of 4-byte length and raw snappy), as Java writes it; raw snappy, as librdkafka writes it.
//! * lz4: frames with independent 64 KB blocks (`Lz4BlockOutputStream`).
//! * zstd: RFC 8878, with or without the content size.

use std::io::{self, Read, Write};

use crate::codec::Codec;

const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic and two 32-bit versions.
const SNAPPY_HEADER: usize = 16;
/// What snappy-java puts into one block.
const SNAPPY_BLOCK: usize = 32 << 10;

/// Why bytes do not decompress.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The output would be larger than allowed.
    #[error("{codec} data decompresses to more than {max} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The cap.
        max: usize,
    },
    /// The input is not what the codec writes.
    #[error("damaged {codec} data: {source}")]
    Damaged {
        /// The codec.
        codec: Codec,
        /// What the library says.
        source: io::Error,
    },
}

/// Compresses `plain` as Kafka's clients do.
///
/// # Errors
/// Only if a codec's library fails, which it does not on memory.
pub fn compress(codec: Codec, plain: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Codec::None => Ok(plain.to_vec()),
        Codec::Gzip => {
            let mut writer =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            writer.write_all(plain)?;
            writer.finish()
        }
        Codec::Snappy => snappy_blocks(plain),
        Codec::Lz4 => {
            let info =
                lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut writer = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
            writer.write_all(plain)?;
            Ok(writer.finish()?)
        }
        Codec::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

/// Decompresses to at most `max` bytes. Never reserves more than that, whatever the input says.
///
/// # Errors
/// If the data is damaged or larger than `max`.
pub fn decompress(codec: Codec, data: &[u8], max: usize) -> Result<Vec<u8>, CompressionError> {
    let plain = match codec {
        Codec::None => read_capped(data, max),
        Codec::Gzip => read_capped(flate2::read::MultiGzDecoder::new(data), max),
        Codec::Snappy => snappy_plain(data, max),
        Codec::Lz4 => read_capped(lz4_flex::frame::FrameDecoder::new(data), max),
        Codec::Zstd => zstd::stream::Decoder::with_buffer(data).and_then(|d| read_capped(d, max)),
    };
    plain.map_err(|source| match source.kind() {
        io::ErrorKind::FileTooLarge => CompressionError::TooLarge { codec, max },
        _ => CompressionError::Damaged { codec, source },
    })
}

/// All that `reader` yields; `FileTooLarge` beyond `max` bytes.
fn read_capped(reader: impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    reader.take(max as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > max {
        Err(io::ErrorKind::FileTooLarge.into())
    } else {
        Ok(plain)
    }
}

fn snappy_blocks(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut data = SNAPPY_MAGIC.to_vec();
    data.extend_from_slice(&1u32.to_be_bytes());
    data.extend_from_slice(&1u32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(SNAPPY_BLOCK) {
        let block = encoder.compress_vec(block)?;
        // A block of 32 KB stays far below 4 GiB.
        data.extend_from_slice(&(block.len() as u32).to_be_bytes());
        data.extend_from_slice(&block);
    }
    Ok(data)
}

fn snappy_plain(data: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    if !data.starts_with(&SNAPPY_MAGIC) {
        snappy_block(data, &mut plain, max)?;
        return Ok(plain);
    }
    let mut rest = data
        .get(SNAPPY_HEADER..)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((length, tail)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, tail) = tail
            .split_at_checked(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        snappy_block(block, &mut plain, max)?;
        rest = tail;
    }
    if rest.is_empty() {
        Ok(plain)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn snappy_block(block: &[u8], plain: &mut Vec<u8>, max: usize) -> io::Result<()> {
    let start = plain.len();
    // The length is what the block claims, before anything is reserved for it.
    let length = snap::raw::decompress_len(block)?;
    if length > max - start {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    plain.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut plain[start..])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_codec_gives_back_what_it_got(
            plain in proptest::collection::vec(any::<u8>(), 0..100_000),
            repeats in 1usize..4,
        ) {
            let plain = plain.repeat(repeats);
            for codec in Codec::ALL {
                let data = compress(codec, &plain).unwrap();
                prop_assert_eq!(&decompress(codec, &data, plain.len()).unwrap(), &plain);
            }
        }

        #[test]
        fn hostile_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            for codec in Codec::ALL {
                if let Ok(plain) = decompress(codec, &data, 4_096) {
                    prop_assert!(plain.len() <= 4_096);
                }
                let framed = [&SNAPPY_MAGIC[..], &[0; 8], &data].concat();
                let _ignored = decompress(Codec::Snappy, &framed, 4_096).is_ok();
            }
        }
    }

    #[test]
    fn a_bomb_ends_at_the_cap() {
        let plain = vec![0; 1 << 20];
        for codec in Codec::ALL {
            let data = compress(codec, &plain).unwrap();
            let error = decompress(codec, &data, (1 << 20) - 1).unwrap_err();
            assert!(
                matches!(error, CompressionError::TooLarge { .. }),
                "{codec}: {error}"
            );
        }
    }

    #[test]
    fn raw_snappy_as_librdkafka_writes_it() {
        let data = snap::raw::Encoder::new()
            .compress_vec(b"hello hello hello")
            .unwrap();
        assert_eq!(
            decompress(Codec::Snappy, &data, 100).unwrap(),
            b"hello hello hello"
        );
    }
}
