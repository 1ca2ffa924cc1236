#include "policy/version.h"

namespace homeport::policy {

const std::string_view kVersion = HOMEPORT_VERSION;

}  // namespace homeport::policy
