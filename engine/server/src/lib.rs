//! The binary `foldstream`: what it is asked for ([`cli`]), what it does about it ([`commands`]), and how the parts of
//! the engine are put together for that ([`compose`]).

pub mod exit;
pub mod output;
pub mod clock;
pub mod logging;
pub mod cli;
pub mod import;
pub mod natives;
pub mod stores;
pub mod compose;
pub mod testing;
pub mod running;
pub mod status;
pub mod commands;
pub mod demo;
