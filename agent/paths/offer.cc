#include "agent/paths/offer.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <utility>

namespace homeport::agent {

namespace {

/// Of one host, of the rows of all.
using Rows = std::map<std::pair<std::string, policy::IpAddress>, const Interface*>;

Rows rows_of(const std::string& host, const std::map<Uuid, Interface>& all) {
  Rows rows;
  for (const auto& [uuid, row] : all) {
    if (row.host == host) rows.emplace(std::pair(row.name, row.address), &row);
  }
  return rows;
}

const Interface* row_of(const Rows& rows, const Interface& interface) {
  auto row = rows.find({interface.name, interface.address});
  return row == rows.end() ? nullptr : row->second;
}

policy::PathEnd end_of(const Interface& interface, const Interface* row, bool default_route) {
  policy::PathEnd end{.address = interface.address, .interface = interface.name};
  end.speed =
      static_cast<std::uint64_t>(std::max<std::int64_t>(interface.speed_mbps, 0)) * 1'000'000;
  end.mtu = static_cast<std::uint32_t>(std::max<std::int64_t>(interface.mtu, 0));
  end.default_route = default_route;
  if (row) {
    end.cost = static_cast<std::uint32_t>(std::max<std::int64_t>(row->cost, 0));
    if (!row->label.empty()) end.labels = {row->label};
  }
  return end;
}

bool configured(const Interface& interface, const UnderlayChoice& choice,
                const std::string& vtep_interface) {
  if (interface.name == vtep_interface) return true;
  return std::ranges::any_of(choice.interfaces, [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), interface.name.c_str(), 0) == 0;
  });
}

/// Empty if it is offered.
std::string why_not(const Interface& interface, const Interface* row, bool is_configured) {
  if (row && row->allowed == false) return "The controller does not allow it.";
  const bool allowed = row && row->allowed == true;
  if (!allowed && !is_configured) {
    return "Nobody has allowed it: add it to [underlay] interfaces of this host's configuration, "
           "or allow it in the control database.";
  }
  return interface.state == LinkState::up ? "" : "It has no carrier.";
}

}  // namespace

Offer offer_of(const std::vector<Interface>& here, const std::map<Uuid, Interface>& rows,
               const UnderlayChoice& choice, const std::set<std::string>& default_routes) {
  auto vtep = std::ranges::find(here, choice.vtep, &Interface::address);
  const std::string vtep_interface = vtep == here.end() ? std::string() : vtep->name;
  Offer offer;
  const Rows own = here.empty() ? Rows() : rows_of(here.front().host, rows);
  for (const Interface& interface : here) {
    const Interface* row = row_of(own, interface);
    policy::PathEnd end = end_of(interface, row, default_routes.contains(interface.name));
    std::string why = why_not(interface, row, configured(interface, choice, vtep_interface));
    if (why.empty()) {
      offer.ends.push_back(std::move(end));
    } else {
      offer.left_out.push_back({std::move(end), std::move(why)});
    }
  }
  std::ranges::sort(offer.ends, {}, [&](const policy::PathEnd& end) {
    return std::pair(end.address != choice.vtep, end.address);
  });
  while (offer.ends.size() > policy::kMostEnds) {
    offer.left_out.push_back(
        {std::move(offer.ends.back()),
         fmt::format("There are more than {} addresses to offer.", policy::kMostEnds)});
    offer.ends.pop_back();
  }
  return offer;
}

}  // namespace homeport::agent
