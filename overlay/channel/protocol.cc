#include "overlay/channel/protocol.h"

namespace homeport::overlay {

const ProtocolVersions kProtocol{.oldest = 1, .newest = 1};

}  // namespace homeport::overlay
