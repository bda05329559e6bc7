//! The one place where the process chooses its TLS implementation.

use std::sync::Once;

/// Makes ring the TLS provider of this process; the first call does it, later ones change nothing.
///
/// reqwest and lapin are built without a provider of their own, so that there is one and not two in the program.
pub fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It fails only where somebody has installed a provider already; that one serves as well.
        let _already = rustls::crypto::ring::default_provider().install_default();
    });
}
