//! The report as a page to look at: what a recording says, as data, and one HTML file that holds them
//! together with what shows them.
//!
//! The page is written in `web/`; `page.js` and `page.css` are what comes out there.

mod data;
mod html;
mod live;

pub(crate) use data::Data;
pub(crate) use html::html;
pub(crate) use live::{Live, serve};
