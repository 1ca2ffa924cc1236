// How the lab says that something did not come about.
#pragma once

#include <stdexcept>

namespace homeport::lab {

/// Something the lab needs did not happen; the sentence says what, with the log's last lines.
struct LabFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// SIGINT or SIGTERM came: unwinding runs every registered clean-up.
struct Interrupted : LabFailure {
  Interrupted() : LabFailure("interrupted") {}
};

}  // namespace homeport::lab
