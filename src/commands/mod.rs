//! The verbs: one file each, and the only code that prints, reads the environment or chooses paths.

mod har;
mod summary;
mod terminal;
mod words;
