//! The tasks as a developer starts them: on a workspace made for the test, by exit code and words.

#![expect(clippy::disallowed_methods, reason = "the tests make a workspace to look at")]
#![expect(clippy::unwrap_used, reason = "what cannot be made fails the test")]

mod tidy;
