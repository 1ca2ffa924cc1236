// Applications of the control database for people and programs. Pure.
#pragma once

#include "agent/control/database.h"

#include <string>

namespace homeport::agent {

/// One line each: driver, location, generation, networks, addresses, and an open task if any.
std::string applications_table(const Contents& contents);
/// Everything about one.
std::string application_page(const Contents& contents, const Application& application);

std::string applications_json_text(const Contents& contents);
std::string application_json_text(const Contents& contents, const Application& application);

}  // namespace homeport::agent
