//! Where another thread may come in between. Tests try out many orders there (shuttle); otherwise nothing happens.

/// Stands before every lock of state that several tasks share.
#[inline]
pub(crate) fn point() {
    #[cfg(test)]
    testing::point();
}

#[cfg(test)]
pub(crate) mod testing {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};
    use std::cell::Cell;

    /// Bytes for each task: an owner's futures are large in a build that is not optimised.
    const STACK: usize = 1 << 20;

    thread_local! {
        static EXPLORING: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn point() {
        if EXPLORING.get() {
            shuttle::thread::yield_now();
        }
    }

    /// Runs `scene` in so many orders chosen at random, and as many in which the order changes at few places only: a
    /// rare order needs either. One in which nobody can go on fails.
    pub(crate) fn explore(orders: usize, scene: fn()) {
        // Timers are made and never ring: in no order is a deadline what helps.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.unwrap();
        let _inside = runtime.enter();
        EXPLORING.set(true);
        let mut config = Config::default();
        config.stack_size = STACK;
        Runner::new(RandomScheduler::new(orders), config.clone()).run(scene);
        Runner::new(PctScheduler::new(3, orders), config).run(scene);
        EXPLORING.set(false);
    }
}
