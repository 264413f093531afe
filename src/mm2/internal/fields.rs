//! The fields that records are made of (`org.apache.kafka.common.protocol.types.Type`).

/// Longest text: its length has two bytes.
const MAX_TEXT: usize = i16::MAX as usize;
/// The version that is written, and the only one that readers before Kafka 4.4 do not misread (KAFKA-20659).
const VERSION: i16 = 0;

/// Bytes that are no such record, or a record that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It ends within a field.
    #[error("it ends within a field")]
    Short,
    /// It goes on behind its last field.
    #[error("it goes on for {0} bytes behind its last field")]
    Behind(usize),
    /// A text of negative length.
    #[error("a text of length {0}")]
    Length(i16),
    /// A text that is not UTF-8.
    #[error("a text that is not UTF-8")]
    NotText,
    /// Another version.
    #[error("version {0}, this strait reads version {VERSION}")]
    Version(i16),
    /// A text that is too long.
    #[error("a text of {0} bytes; {MAX_TEXT} is the most")]
    TooLong(usize),
}

/// Fields one after the other.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn text(mut self, text: &str) -> Result<Self, FormatError> {
        let length = i16::try_from(text.len()).map_err(|_| FormatError::TooLong(text.len()))?;
        self.0.extend(length.to_be_bytes());
        self.0.extend(text.as_bytes());
        Ok(self)
    }

    pub(super) fn int32(mut self, number: i32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn int64(mut self, number: i64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(super) fn version(mut self) -> Self {
        self.0.extend(VERSION.to_be_bytes());
        self
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// What is left to read.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(FormatError::Short)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn text(&mut self) -> Result<String, FormatError> {
        let length = i16::from_be_bytes(self.array()?);
        let bytes = usize::try_from(length).map_err(|_| FormatError::Length(length))?;
        let (text, rest) = self.0.split_at_checked(bytes).ok_or(FormatError::Short)?;
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| FormatError::NotText)?;
        Ok(text.to_owned())
    }

    pub(super) fn int32(&mut self) -> Result<i32, FormatError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn int64(&mut self) -> Result<i64, FormatError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(super) fn version(&mut self) -> Result<(), FormatError> {
        match i16::from_be_bytes(self.array()?) {
            VERSION => Ok(()),
            other => Err(FormatError::Version(other)),
        }
    }

    pub(super) fn end(self) -> Result<(), FormatError> {
        match self.0.len() {
            0 => Ok(()),
            behind => Err(FormatError::Behind(behind)),
        }
    }
}
