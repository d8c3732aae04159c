//! Wrong versions of rules, one at a time, for tests to find.

/// Names the bugs of a crate that has the feature `planted`: `Bug`, with all of them in `Bug::ALL`; `plant`, which makes one
/// take effect in all that runs on a thread; and `is`, which asks for it. Without the feature `is` is the constant `false`,
/// and nothing can be planted.
#[macro_export]
macro_rules! planted_bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $name,)*
        }

        impl Bug {
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }

        #[cfg(feature = "planted")]
        ::std::thread_local! {
            static PLANTED: ::std::cell::Cell<Option<Bug>> = const { ::std::cell::Cell::new(None) };
        }

        /// Plants a bug in all that runs on this thread from now on, in place of the one before.
        #[cfg(feature = "planted")]
        pub fn plant(bug: Option<Bug>) {
            PLANTED.set(bug);
        }

        #[cfg(feature = "planted")]
        pub fn is(bug: Bug) -> bool {
            PLANTED.get() == Some(bug)
        }

        #[cfg(not(feature = "planted"))]
        pub const fn is(_: Bug) -> bool {
            false
        }
    };
}
