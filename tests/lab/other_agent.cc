// homeportd of another version, for tests of upgrades: what is defined here takes the place of what
// the libraries say of themselves.
#include "agent/run.h"
#include "overlay/channel/protocol.h"
#include "policy/version.h"

namespace homeport {

const std::string_view policy::kVersion = HOMEPORT_OTHER_VERSION;
const overlay::ProtocolVersions overlay::kProtocol{HOMEPORT_OTHER_OLDEST, HOMEPORT_OTHER_NEWEST};

}  // namespace homeport

int main(int argc, char** argv) {
  return homeport::agent::run_agent(argc, argv);
}
