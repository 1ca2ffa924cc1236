#include "overlay/link/bulk_limit.h"

#include "overlay/link/netlink.h"
#include "policy/code_point.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netlink/route/class.h>
#include <netlink/route/classifier.h>
#include <netlink/route/cls/u32.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>

#include <array>
#include <compare>
#include <set>

namespace homeport::overlay {

namespace {

using Qdisc = std::unique_ptr<rtnl_qdisc, Deleter<rtnl_qdisc_put>>;
using Class = std::unique_ptr<rtnl_class, Deleter<rtnl_class_put>>;
using Filter = std::unique_ptr<rtnl_cls, Deleter<rtnl_cls_put>>;

constexpr std::uint32_t kRoot = 0x4850u << 16;  // "HP"
constexpr std::uint32_t kRest = 1, kBulk = 2;   // minor numbers
/// More than any device takes, in bytes/s.
constexpr std::uint64_t kUnlimited = 125'000'000'000;
/// Bytes that a class sends before it is another's turn: more than the largest packet there is,
/// with GSO.
constexpr std::uint32_t kQuantum = 200'000;

/// Of transfers CS1, of the overlay's outer header lower effort.
constexpr std::array<std::uint8_t, 2> kCodePoints = {
    8, policy::outer_code_point(policy::TrafficClass::bulk)};

/// Packets with a code point: the first four bytes of an IP header.
struct Match {
  std::uint16_t protocol = 0;
  std::uint32_t value = 0, mask = 0;  ///< in host byte order
  std::weak_ordering operator<=>(const Match&) const = default;
};

std::uint16_t priority_of(const Match& match) {
  return match.protocol == ETH_P_IP ? 0x4850 : 0x4851;  // one protocol for each
}

std::set<Match> wanted_matches() {
  std::set<Match> matches;
  for (const std::uint32_t code_point : kCodePoints) {
    matches.insert({ETH_P_IP, code_point << 18, 0x3fu << 18});
    matches.insert({ETH_P_IPV6, code_point << 22, 0x3fu << 22});
  }
  return matches;
}

struct Shape {
  std::uint64_t bytes_per_second = 0;
  std::uint32_t priority = 0;
  bool operator==(const Shape&) const = default;
};

/// What a device has, as far as it concerns this.
struct Found {
  std::string root_kind;
  std::uint32_t root = 0;          ///< its handle; 0: the kernel's own choice
  std::set<std::uint32_t> leaves;  ///< minor numbers of the classes that have a qdisc
  bool is_ours() const { return root == kRoot && root_kind == "htb"; }
};

std::string text_of(std::uint64_t bits_per_second) {
  return fmt::format("{} Mbit/s", bits_per_second / 1'000'000);
}

class Keeper {
 public:
  explicit Keeper(nl_sock* socket) : socket_(socket) {}

  Result<KeptLimits> keep(const std::map<std::string, std::uint64_t>& limits) {
    if (auto read = read_qdiscs(); !read) return read.error();
    std::map<int, std::uint64_t> by_index;
    for (const auto& [name, limit] : limits) {
      const auto index = static_cast<int>(::if_nametoindex(name.c_str()));
      if (index == 0) continue;
      by_index[index] = limit;
      device_ = name;
      index_ = index;
      found_ = devices_[index];
      if (auto done = limit_to(limit); !done) kept_.problems.push_back(done.error().message + ".");
    }
    for (const auto& [index, found] : devices_) {
      if (!found.is_ours() || by_index.contains(index)) continue;
      char name[IF_NAMESIZE] = "";
      if (!::if_indextoname(static_cast<unsigned>(index), name)) continue;
      device_ = name;
      index_ = index;
      if (auto done = remove_root(); !done) kept_.problems.push_back(done.error().message + ".");
    }
    return std::move(kept_);
  }

 private:
  Result<void> read_qdiscs() {
    nl_cache* read = nullptr;
    if (const int result = rtnl_qdisc_alloc_cache(socket_, &read); result < 0) {
      return netlink::error("The queueing of network devices cannot be read", result);
    }
    const netlink::Cache cache(read);
    for (nl_object* it = nl_cache_get_first(read); it; it = nl_cache_get_next(it)) {
      auto* tc = TC_CAST(reinterpret_cast<rtnl_qdisc*>(it));
      Found& found = devices_[rtnl_tc_get_ifindex(tc)];
      const std::uint32_t parent = rtnl_tc_get_parent(tc);
      if (parent == TC_H_ROOT) {
        found.root = rtnl_tc_get_handle(tc);
        found.root_kind = rtnl_tc_get_kind(tc);
      } else if (TC_H_MAJ(parent) == kRoot) {
        found.leaves.insert(TC_H_MIN(parent));
      }
    }
    return {};
  }

  policy::Error failed(const char* what, int result) const {
    return netlink::error(
        fmt::format("Bulk traffic by {} is not limited: {} cannot be set", device_, what), result);
  }

  Result<void> limit_to(std::uint64_t bits_per_second) {
    bool changed = false;
    const bool is_new = found_.root == 0;
    if (is_new) {
      if (auto done = add_root(); !done) return done;
    } else if (!found_.is_ours()) {
      return policy::make_error(
          boost::system::errc::file_exists,
          fmt::format("Bulk traffic by {0} is not limited: the device has a qdisc {1} {2:x}: that "
                      "somebody has set; remove it (tc qdisc del dev {0} root) or the limit",
                      device_, found_.root_kind, found_.root >> 16));
    }
    auto classes = classes_now();
    if (!classes) return classes.error();
    const std::map<std::uint32_t, Shape> wanted{{kRest, {kUnlimited, 0}},
                                                {kBulk, {bits_per_second / 8, 1}}};
    for (const auto& [minor, shape] : wanted) {
      if (auto now = classes->find(minor); now == classes->end() || now->second != shape) {
        if (auto done = set_class(minor, shape); !done) return done;
        changed = true;
      }
      if (!is_new && found_.leaves.contains(minor)) continue;
      auto added = add_leaf(minor);
      if (!added) return added.error();
      changed = changed || *added;
    }
    auto filters = add_filters();
    if (!filters) return filters.error();
    if (changed || *filters || is_new) {
      kept_.changes.push_back(
          fmt::format("Bulk traffic by {} is limited to {}.", device_, text_of(bits_per_second)));
    }
    return {};
  }

  void place(rtnl_tc* tc, std::uint32_t parent) const {
    rtnl_tc_set_ifindex(tc, index_);
    rtnl_tc_set_parent(tc, parent);
  }

  Result<void> add_root() {
    const Qdisc qdisc(rtnl_qdisc_alloc());
    place(TC_CAST(qdisc.get()), TC_H_ROOT);
    rtnl_tc_set_handle(TC_CAST(qdisc.get()), kRoot);
    rtnl_tc_set_kind(TC_CAST(qdisc.get()), "htb");
    rtnl_htb_set_defcls(qdisc.get(), kRest);
    const int result = rtnl_qdisc_add(socket_, qdisc.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (result < 0) return failed("its qdisc", result);
    return {};
  }

  Result<void> remove_root() {
    const Qdisc qdisc(rtnl_qdisc_alloc());
    place(TC_CAST(qdisc.get()), TC_H_ROOT);
    rtnl_tc_set_handle(TC_CAST(qdisc.get()), kRoot);
    const int result = rtnl_qdisc_delete(socket_, qdisc.get());
    if (result < 0 && result != -NLE_OBJ_NOTFOUND && result != -NLE_NODEV) {
      return netlink::error("The limit of bulk traffic by " + device_ + " cannot be removed",
                            result);
    }
    kept_.changes.push_back(fmt::format("Bulk traffic by {} is no longer limited.", device_));
    return {};
  }

  /// By their minor numbers.
  Result<std::map<std::uint32_t, Shape>> classes_now() {
    nl_cache* read = nullptr;
    if (const int result = rtnl_class_alloc_cache(socket_, index_, &read); result < 0) {
      return netlink::error("The classes of traffic of " + device_ + " cannot be read", result);
    }
    const netlink::Cache cache(read);
    std::map<std::uint32_t, Shape> classes;
    for (nl_object* it = nl_cache_get_first(read); it; it = nl_cache_get_next(it)) {
      auto* each = reinterpret_cast<rtnl_class*>(it);
      const std::uint32_t handle = rtnl_tc_get_handle(TC_CAST(each));
      std::uint64_t rate = 0, ceiling = 0;
      if (TC_H_MAJ(handle) != kRoot || rtnl_htb_get_rate64(each, &rate) < 0 ||
          rtnl_htb_get_ceil64(each, &ceiling) < 0 || rate != ceiling) {
        continue;
      }
      classes[TC_H_MIN(handle)] = {rate, rtnl_htb_get_prio(each)};
    }
    return classes;
  }

  Result<void> set_class(std::uint32_t minor, const Shape& shape) {
    const Class made(rtnl_class_alloc());
    place(TC_CAST(made.get()), kRoot);
    rtnl_tc_set_handle(TC_CAST(made.get()), kRoot | minor);
    rtnl_tc_set_kind(TC_CAST(made.get()), "htb");
    rtnl_htb_set_rate64(made.get(), shape.bytes_per_second);
    rtnl_htb_set_ceil64(made.get(), shape.bytes_per_second);
    rtnl_htb_set_prio(made.get(), shape.priority);
    rtnl_htb_set_quantum(made.get(), kQuantum);
    const int result = rtnl_class_add(socket_, made.get(), NLM_F_CREATE);
    if (result < 0) return failed("a class of traffic", result);
    return {};
  }

  /// False: the kernel has no such qdisc, and the class keeps its plain queue.
  Result<bool> add_leaf(std::uint32_t minor) {
    const Qdisc qdisc(rtnl_qdisc_alloc());
    place(TC_CAST(qdisc.get()), kRoot | minor);
    rtnl_tc_set_handle(TC_CAST(qdisc.get()), kRoot + (minor << 16));
    rtnl_tc_set_kind(TC_CAST(qdisc.get()), "fq_codel");
    const int result = rtnl_qdisc_add(socket_, qdisc.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (result == -NLE_OBJ_NOTFOUND || result == -NLE_OPNOTSUPP) return false;
    if (result < 0) return failed("a class' queue", result);
    return true;
  }

  /// Those that lead to the class of bulk.
  Result<std::set<Match>> matches_now() {
    nl_cache* read = nullptr;
    if (const int result = rtnl_cls_alloc_cache(socket_, index_, kRoot, &read); result < 0) {
      return netlink::error("The filters of " + device_ + " cannot be read", result);
    }
    const netlink::Cache cache(read);
    std::set<Match> matches;
    for (nl_object* it = nl_cache_get_first(read); it; it = nl_cache_get_next(it)) {
      auto* each = reinterpret_cast<rtnl_cls*>(it);
      const char* kind = rtnl_tc_get_kind(TC_CAST(each));
      std::uint32_t leads_to = 0, value = 0, mask = 0;
      int offset = 0, offset_mask = 0;
      if (!kind || std::string_view(kind) != "u32" || rtnl_u32_get_classid(each, &leads_to) < 0 ||
          leads_to != (kRoot | kBulk) ||
          rtnl_u32_get_key(each, 0, &value, &mask, &offset, &offset_mask) < 0 || offset != 0) {
        continue;
      }
      const Match match{rtnl_cls_get_protocol(each), ntohl(value), ntohl(mask)};
      if (rtnl_cls_get_prio(each) == priority_of(match)) matches.insert(match);
    }
    return matches;
  }

  /// True if one was missing.
  Result<bool> add_filters() {
    auto now = matches_now();
    if (!now) return now.error();
    bool changed = false;
    for (const Match& match : wanted_matches()) {
      if (now->contains(match)) continue;
      const Filter filter(rtnl_cls_alloc());
      place(TC_CAST(filter.get()), kRoot);
      rtnl_tc_set_kind(TC_CAST(filter.get()), "u32");
      rtnl_cls_set_protocol(filter.get(), match.protocol);
      rtnl_cls_set_prio(filter.get(), priority_of(match));
      rtnl_u32_add_key(filter.get(), htonl(match.value), htonl(match.mask), 0, 0);
      rtnl_u32_set_classid(filter.get(), kRoot | kBulk);
      rtnl_u32_set_cls_terminal(filter.get());
      const int result = rtnl_cls_add(socket_, filter.get(), NLM_F_CREATE | NLM_F_EXCL);
      if (result < 0) return failed("a filter", result);
      changed = true;
    }
    return changed;
  }

  nl_sock* socket_;
  std::map<int, Found> devices_;
  KeptLimits kept_;
  // The device that is looked at.
  std::string device_;
  int index_ = 0;
  Found found_;
};

}  // namespace

Result<KeptLimits> keep_bulk_limits(const std::map<std::string, std::uint64_t>& limits) {
  auto socket = netlink::connect();
  if (!socket) return socket.error();
  return Keeper(socket->get()).keep(limits);
}

}  // namespace homeport::overlay
