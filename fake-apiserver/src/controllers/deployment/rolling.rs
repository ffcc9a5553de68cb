//! The two ways from old ReplicaSets to the new one.

use super::super::control_loop::Context;
use super::Deployment;
use super::sets::{Set, Sets};
use crate::status::Status;

/// RollingUpdate: up within the surge, down within what may be unavailable.
pub(super) fn roll(
    deployment: &Deployment<'_>,
    sets: &mut Sets,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    sets.ensure_new(deployment, context)?;
    let Some(size) = sets.new.as_ref().map(Set::size) else { return Ok(()) };
    let wanted = if size > deployment.replicas {
        deployment.replicas
    } else {
        let room = deployment.replicas + deployment.max_surge - sets.total_size();
        size + room.clamp(0, deployment.replicas - size)
    };
    if wanted != size {
        return sets.resize_new(wanted, deployment, context);
    }
    shrink_old(deployment, sets, context)
}

fn shrink_old(
    deployment: &Deployment<'_>,
    sets: &mut Sets,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    let old_size: i64 = sets.old.iter().map(Set::size).sum();
    let Some(new) = sets.new.as_ref().filter(|_| old_size > 0) else { return Ok(()) };
    let min_available = deployment.replicas - deployment.max_unavailable;
    let new_unavailable = new.size() - new.count("availableReplicas");
    let mut budget = sets.total_size() - min_available - new_unavailable;
    if budget <= 0 {
        return Ok(());
    }
    // Pods that are not available are no loss: they go first.
    for index in 0..sets.old.len() {
        let (size, available) = (sets.old[index].size(), sets.old[index].count("availableReplicas"));
        let less = (size - available).clamp(0, budget);
        if size > 0 && less > 0 {
            budget -= less;
            sets.resize(index, size - less, deployment, context)?;
        }
    }
    let mut spare = sets.total("availableReplicas") - min_available;
    for index in 0..sets.old.len() {
        let size = sets.old[index].size();
        let less = size.min(spare);
        if less > 0 {
            spare -= less;
            sets.resize(index, size - less, deployment, context)?;
        }
    }
    Ok(())
}

/// Recreate: all old pods are gone before the first new one comes.
pub(super) fn recreate(
    deployment: &Deployment<'_>,
    sets: &mut Sets,
    context: &mut Context<'_, '_>,
) -> Result<(), Status> {
    let mut shrunk = false;
    for index in 0..sets.old.len() {
        if sets.old[index].size() > 0 {
            sets.resize(index, 0, deployment, context)?;
            shrunk = true;
        }
    }
    let alive = |set: &Set| context.observed.controlled_by(&set.stored.meta.uid).any(|pod| !pod.has_ended());
    if shrunk || sets.old.iter().any(alive) {
        return Ok(());
    }
    sets.ensure_new(deployment, context)?;
    sets.resize_new(deployment.replicas, deployment, context)
}
