//! What a container that is begun by the shim finds inside. A script stands in for the program.

use crate::harness::Harness;
use dtma_core::observation::ContainerState;
use dtma_core::port::runtime::ContainerRuntime;
use dtma_core::shim::ShimMount;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// Its own name, what it was given, who it is, and whether it may write beside itself.
const SCRIPT: &str = r#"#!/bin/sh
echo "$0 $*"
echo "$DTMA_SHIM $$"
cat /.dtma/run/note
for dir in / /.dtma/bin /.dtma/run; do touch $dir/x 2>/dev/null && echo "wrote to $dir"; done
exit 0
"#;

/// The image's own program does not run, and the host's directories are seen but not written.
#[tokio::test]
async fn the_shim_is_the_first_process_and_finds_its_directories() {
    let harness = Harness::new().await;
    let (bin, run) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let program = bin.path().join("dtma-shim");
    fs::write(&program, SCRIPT).expect("the program");
    fs::write(run.path().join("note"), "from the host\n").expect("the note");
    for path in [bin.path(), run.path(), &program] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("others may read");
    }
    let mut request = harness.request("shimmed", "echo the image's own").await;
    request.config.isolation.init = false;
    request.shim = Some(ShimMount {
        bin_dir: bin.path().to_owned(),
        run_dir: run.path().to_owned(),
        nonce: "00ff".to_owned(),
        argv: ["it", "-v", "two words"].map(str::to_owned).into(),
    });
    let (output, state) = harness.run(&request).await;
    assert_eq!(output, "/.dtma/bin/dtma-shim -- it -v two words\n00ff 1\nfrom the host\n");
    assert!(matches!(state, ContainerState::Exited { code: 0, .. }), "{state:?}");
    let plain = harness.create(&harness.request("plain", "true").await).await;
    let seen = harness.engine().containers(&harness.scope()).await.expect("containers");
    assert!(seen.iter().all(|seen| seen.shim == (seen.id != plain)), "{seen:?}");
    assert_eq!(seen.len(), 2);
    harness.leave().await;
}
