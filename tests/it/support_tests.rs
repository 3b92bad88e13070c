//! The support library keeps its promises: a fault that it does not stage would pass for a virtue.

mod connections;
mod parents;
mod real_go;
mod requests;
mod sandboxes;
