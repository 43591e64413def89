//! One suite of behaviour per port. Every case is an async function that reads as a sentence and takes a harness,
//! the few things that differ between a fake and the real thing.
//!
//! A macro of each suite lists all its cases as tests of their own, so that a new case reaches every
//! implementation without anybody remembering it:
//!
//! ```text
//! dtma_testing::store_suite!(MyStoreHarness::new().await);
//! ```

pub mod images;
pub mod meter;
pub mod runtime;
pub mod store;
pub mod vault;

/// Turns a list of a suite's cases into tests. An implementation detail of the `*_suite!` macros.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($suite:ident, $harness:expr, $attribute:tt; $($case:ident)*) => {
        $(
            #[tokio::test $attribute]
            async fn $case() {
                $crate::suite::$suite::$case($harness).await;
            }
        )*
    };
}
