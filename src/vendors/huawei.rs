//! To be written.


use crate::config::{AccountSettings, PlanRow, Problems, Setup, SetupError};
use crate::vendors::ReportSetup;

crate::config::account_config! {
    /// One account.
    pub struct Account {}
}

impl crate::config::Account for Account {
    fn vendor(&self) -> &'static str {
        "huawei"
    }
    fn settings(&self) -> AccountSettings {
        self.common("huawei")
    }
    fn base_url(&self) -> &str {
        "http://127.0.0.1/"
    }
    fn check(&self, _at: &str, _problems: &mut Problems) {}
    fn build(&self, _setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError> {
        Ok(Vec::new())
    }
    fn plan(&self) -> Vec<PlanRow> {
        Vec::new()
    }
}
