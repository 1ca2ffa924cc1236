// A status snapshot in the Prometheus text exposition format, version 0.0.4.
#pragma once

#include "agent/status/model.h"

#include <string>

namespace homeport::agent {

inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of the agent: names begin with homeport_, base units (seconds, bytes), one HELP
/// and one TYPE line per metric, label values escaped.
std::string to_metrics(const StatusModel& model);

}  // namespace homeport::agent
