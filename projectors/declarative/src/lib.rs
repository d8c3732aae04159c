//! Projectors, reducers and upcasters written in configuration.

pub mod expression;
