//! GET of one object.

use super::call::Call;
use super::{ApiServer, list};
use crate::response::Response;
use crate::status::Status;

impl ApiServer {
    pub(super) fn get(&self, call: &Call<'_>) -> Result<Response, Status> {
        let key = call.key()?;
        list::check_not_future(self.storage.revision(), call.request.params.resource_version.as_deref())?;
        let object =
            self.storage.get(&call.resource.storage, &key).ok_or_else(|| call.not_found(&key.name))?;
        let warnings = call.resource.deprecation.iter().cloned().collect();
        Ok(call.answer(self.show(&call.resource, object)?, warnings))
    }
}
