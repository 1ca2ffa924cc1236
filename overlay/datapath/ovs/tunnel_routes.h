// By which way a userspace switch sends its tunnel's packets.
//
// It has a copy of the kernel's routes. Whenever any device or route of its network namespace
// changes, a guest's tap that comes or goes among them, ovs-vswitchd throws that copy away and
// reads it again (route_table_reset() of Open vSwitch 3.1), and a flow that it revalidates in
// between drops what it should send, for some milliseconds. It does not throw away what it has been
// given by `ovs-appctl ovs/route/add`. To hosts that are on the VTEP's own link, where the way is
// not in doubt, it is given such routes.
//
// With them goes the check whether the outer source is an address of this host: that is thrown away
// too. So flows leave the source to the routes, as long as all of those have the right one, and
// otherwise set it.
#pragma once

#include "overlay/datapath/ovs_datapath.h"
#include "overlay/link/link.h"
#include "overlay/vswitch/bridge.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace homeport::overlay::ovs {

struct GivenRoute {
  std::string device;
  policy::IpAddress source;
  bool operator==(const GivenRoute&) const = default;
};
/// Those to single addresses that lead to no gateway, of what `ovs-appctl ovs/route/show` prints
/// ("User: 192.0.2.2/32 dev br-phy SRC 192.0.2.1"). What is no such line is passed over. Pure.
std::map<policy::IpAddress, GivenRoute> read_given_routes(std::string_view shown);

/// Whether a host is on the link of an own address with that prefix. Pure.
bool is_on_link(const policy::IpAddress& host, const LinkAddress& own);

class TunnelRoutes {
 public:
  /// For the tunnel of this bridge, from `options.local_vtep`, which there must be.
  TunnelRoutes(vswitch::Bridge& bridge, const OvsOptions& options)
      : bridge_(bridge), options_(options) {}

  /// Has the switch know the way to these hosts, and no more to those that it was told of before.
  /// Says in `mended` which somebody else has taken away.
  Result<void> keep(const std::vector<policy::IpAddress>& hosts, std::vector<std::string>& mended);
  /// What flows are to set for the outer source, as it is: the unspecified address where all of
  /// these hosts have such a route with the VTEP for its source; otherwise the VTEP.
  Result<policy::IpAddress> source(const std::vector<policy::IpAddress>& hosts);
  /// Whether keep() of these hosts has nothing to do, and source() of them is that one.
  Result<bool> untouched(const std::vector<policy::IpAddress>& hosts,
                         const std::optional<policy::IpAddress>& source);

 private:
  using Given = std::map<policy::IpAddress, GivenRoute>;
  struct Ways {
    Given given;                         ///< What the switch has been given, by whomever.
    std::set<policy::IpAddress> wanted;  ///< The hosts that are to have one,
    GivenRoute own;                      ///< and what it leads by.
  };

  Result<Given> given();
  Result<Ways> look(const std::vector<policy::IpAddress>& hosts);
  bool is_right(const Ways& ways, const policy::IpAddress& host) const;
  policy::IpAddress source_by(const Given& given,
                              const std::vector<policy::IpAddress>& hosts) const;
  Result<void> change(const std::string& command, const policy::IpAddress& host,
                      const std::string& device);

  vswitch::Bridge& bridge_;
  const OvsOptions& options_;
  std::set<policy::IpAddress> left_;
};

}  // namespace homeport::overlay::ovs
