-- Health of Dask's resources for Argo CD: the value of `resource.customizations.health.kubernetes.dask.org_DaskCluster`
-- and of its three siblings in the ConfigMap `argocd-cm`.
--
-- Reads what the operator says of a resource. What it says of an earlier generation does not count.

-- Reasons of Ready = False that pass by themselves; every other one needs somebody.
local passing = {
  Asking = true, BackOff = true, ClusterMissing = true, Creating = true, GroupMissing = true, LoadBalancerPending = true,
  PodMissing = true, PodNotReady = true, ScalingDown = true, SchedulerNotReady = true, SeveralPods = true, Starting = true,
  Unschedulable = true, Waiting = true,
}

local function answer(status, message)
  return { status = status, message = message }
end

local status = obj.status or {}

if obj.kind == "DaskJob" then
  if status.jobStatus == "Successful" then return answer("Healthy", "the job has succeeded") end
  if status.jobStatus == "Failed" then return answer("Degraded", "the job has failed") end
  if obj.spec ~= nil and obj.spec.suspend == true then return answer("Suspended", "spec.suspend is true") end
end

for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    local seen, is = condition.observedGeneration, obj.metadata.generation
    if seen ~= nil and is ~= nil and seen < is then
      return answer("Progressing", "the operator has not looked at the latest change yet")
    end
    if condition.status == "True" then return answer("Healthy", condition.message) end
    if condition.status == "Unknown" or passing[condition.reason] then return answer("Progressing", condition.message) end
    return answer("Degraded", condition.reason .. ": " .. condition.message)
  end
end

-- Definitions of the Python operator keep no conditions.
if status.phase == "Running" or status.jobStatus == "Running" then return answer("Healthy", "Running") end
if status.phase == "Error" then return answer("Degraded", "the name cannot be used") end
if obj.kind == "DaskCluster" or obj.kind == "DaskJob" then
  return answer("Progressing", status.phase or status.jobStatus or "the operator has not seen it yet")
end
return answer("Healthy", "the installed definition stores no status")
