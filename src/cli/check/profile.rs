//! How this tenant is known to behave, against what the configuration says and needs. What a look of this very check has shown
//! stands beside what the latest probe found.

use super::findings::Findings;
use crate::app::probe::{differences, missing};
use crate::config::settings::Settings;
use crate::domain::tenant::{Question, Reading, TenantReport};

const TENANT: &str = "tenant";

/// Says what the tenant does not do, and what is done instead. `seen` is what this check saw itself.
pub(super) fn check(settings: &Settings, probed: Option<TenantReport>, seen: &TenantReport, findings: &mut Findings) {
    let was_probed = probed.is_some();
    let mut known = probed.unwrap_or_default();
    for question in Question::ALL {
        if let Some(Reading::Known(value)) = seen.reading(*question) {
            known.settle(*question, value.clone());
        }
    }
    if was_probed {
        let open =
            Question::ALL.iter().filter(|question| !matches!(known.reading(**question), Some(Reading::Known(_))));
        findings.good(TENANT, format!("probed; {} questions are open", open.count()));
    } else {
        findings
            .not_checked(TENANT, "not probed: what is not known is done the safe way; `deskferry probe` settles it");
    }
    for missing in missing(settings, &known) {
        findings.warning(TENANT, missing.what, missing.instead);
    }
    for difference in differences(settings, &known) {
        findings.warning(TENANT, difference, "");
    }
}
