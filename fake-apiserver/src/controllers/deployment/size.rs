//! How large each ReplicaSet of a Deployment is to be when `spec.replicas` changes.

use serde_json::Value;

use super::super::control_loop::Context;
use super::super::object::{REPLICA_SETS, annotation, set_annotation};
use super::Deployment;
use super::sets::{Set, Sets};
use crate::status::Status;

/// `spec.replicas` of the Deployment when the ReplicaSet was last sized.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

impl Sets {
    /// Sum of the sizes they are to have.
    pub(super) fn total_size(&self) -> i64 {
        self.all().map(Set::size).sum()
    }

    /// `spec.replicas` has changed: that is spread over all ReplicaSets before anything is rolled on.
    pub(super) fn has_new_size(&self, deployment: &Deployment<'_>) -> bool {
        let desired = |set: &Set| annotation(&set.value, DESIRED).parse::<i64>().ok();
        self.all()
            .any(|set| set.size() > 0 && desired(set).is_some_and(|desired| desired != deployment.replicas))
    }

    /// Spreads `spec.replicas` over the ReplicaSets.
    pub(super) fn scale(
        &mut self,
        deployment: &Deployment<'_>,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        let active: Vec<usize> = (0..self.len()).filter(|index| self.size_of(*index) > 0).collect();
        match (active.as_slice(), self.len()) {
            ([only], _) => return self.resize(*only, deployment.replicas, deployment, context),
            // The newest stands for all when all are empty.
            ([], count) if count > 0 => {
                return self.resize(count - 1, deployment.replicas, deployment, context);
            }
            ([], _) => return Ok(()),
            _ => {}
        }
        let saturated = |new: &Set| {
            new.size() == deployment.replicas && new.count("availableReplicas") == deployment.replicas
        };
        if self.new.as_ref().is_some_and(saturated) {
            for index in 0..self.old.len() {
                self.resize(index, 0, deployment, context)?;
            }
            return Ok(());
        }
        if deployment.recreate {
            return Ok(());
        }
        for (index, size) in self.proportional(deployment).into_iter().enumerate() {
            self.resize(index, size, deployment, context)?;
        }
        Ok(())
    }

    /// Sizes in proportion to the present ones, the sum being `spec.replicas` with the surge.
    fn proportional(&self, deployment: &Deployment<'_>) -> Vec<i64> {
        let total = self.total_size();
        let allowed = if deployment.replicas > 0 { deployment.replicas + deployment.max_surge } else { 0 };
        let to_add = allowed - total;
        let mut added = 0;
        let mut sizes = Vec::new();
        for set in self.all() {
            let size = set.size();
            let before = annotation(&set.value, MAX).parse().unwrap_or(total).max(1);
            // Rounded to the nearest, never beyond what is left.
            let exact = (size * allowed * 2 + before) / (before * 2) - size;
            let share = match to_add {
                _ if size == 0 => 0,
                1.. => exact.clamp(0, to_add - added),
                _ => exact.clamp(to_add - added, 0),
            };
            added += share;
            sizes.push((size + share).max(0));
        }
        // What rounding has left goes to the newest.
        if let Some(last) = sizes.iter_mut().rev().find(|size| **size > 0) {
            *last = (*last + to_add - added).max(0);
        }
        sizes
    }

    fn len(&self) -> usize {
        self.old.len() + usize::from(self.new.is_some())
    }

    fn size_of(&self, index: usize) -> i64 {
        self.all().nth(index).map_or(0, Set::size)
    }

    /// Gives the new ReplicaSet a size.
    pub(super) fn resize_new(
        &mut self,
        size: i64,
        deployment: &Deployment<'_>,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        self.resize(self.old.len(), size, deployment, context)
    }

    /// Gives one of [`Sets::all`] a size.
    pub(super) fn resize(
        &mut self,
        index: usize,
        size: i64,
        deployment: &Deployment<'_>,
        context: &mut Context<'_, '_>,
    ) -> Result<(), Status> {
        let set = match self.old.get_mut(index) {
            Some(set) => set,
            None => match &mut self.new {
                Some(set) => set,
                None => return Ok(()),
            },
        };
        let before = set.size();
        let annotated = size > 0 && annotate_sizes(&mut set.value, deployment);
        if before == size && !annotated {
            return Ok(());
        }
        set.value["spec"]["replicas"] = size.into();
        *set = Set::read(context.api.update(&REPLICA_SETS, set.value.clone())?);
        if before != size {
            let way = if size > before { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {} from {before} to {size}", set.name());
            context.normal(deployment.value, "ScalingReplicaSet", &message);
        }
        Ok(())
    }
}

/// Notes on a ReplicaSet what it was sized for; returns whether that is new.
pub(super) fn annotate_sizes(set: &mut Value, deployment: &Deployment<'_>) -> bool {
    let desired = set_annotation(set, DESIRED, &deployment.replicas.to_string());
    set_annotation(set, MAX, &(deployment.replicas + deployment.max_surge).to_string()) | desired
}
