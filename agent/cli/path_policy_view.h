// How what is asked of paths is printed. Pure.
#pragma once

#include "agent/control/database.h"

#include <string>

namespace homeport::agent {

/// A line for each thing that is asked of a class.
std::string path_policy_table(const Contents& contents);
/// An object for each class, also for those of which nothing is asked.
std::string path_policy_json_text(const Contents& contents);

}  // namespace homeport::agent
