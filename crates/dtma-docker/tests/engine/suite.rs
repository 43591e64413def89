//! The suite that every engine passes, the fake one of `dtma-testing` included.

use crate::harness::Harness;

dtma_testing::runtime_suite!(Harness::new().await);
