//! A result as the reference's `types100.Result`, whose definition is beside the other messages'.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_types::{CniResult, Dns, Interface, IpConfig, Route};
use ipnet::IpNet;

use super::gob::{Fields, GobError, StructWriter, Value, put_bytes};

/// Without a version: the plugin gives the result that of its configuration.
pub(super) fn put_result(writer: &mut StructWriter<'_>, result: &CniResult) {
    let number = |value: Option<u32>| value.map_or(0, i64::from);
    let text = |value: &Option<String>| value.clone().unwrap_or_default().into_bytes();
    let strings = |writer: &mut StructWriter<'_>, field: u64, values: &[String]| {
        writer.list(field, values, |out, value| put_bytes(out, value.as_bytes()));
    };
    writer.list(1, &result.interfaces, |out, interface| {
        let mut writer = StructWriter::new(out);
        writer.bytes(0, interface.name.as_bytes()).bytes(1, &text(&interface.mac));
        writer.int(2, number(interface.mtu)).bytes(3, &text(&interface.sandbox));
        writer.bytes(4, &text(&interface.socket_path)).bytes(5, &text(&interface.pci_id)).end();
    });
    writer.list(2, &result.ips, |out, ip| {
        let index = ip.interface.and_then(|index| i64::try_from(index).ok()).unwrap_or_default();
        let gateway = ip.gateway.map(octets).unwrap_or_default();
        let mut writer = StructWriter::new(out);
        writer.int(0, index).structure(1, |net| put_net(net, ip.address)).bytes(2, &gateway).end();
    });
    writer.list(3, &result.routes, |out, route| {
        let mut writer = StructWriter::new(out);
        writer.structure(0, |net| put_net(net, route.dst));
        writer.bytes(1, &route.gw.map(octets).unwrap_or_default());
        let scope = route.scope.map(u32::from);
        let numbers = [route.mtu, route.advmss, route.priority, route.table, scope];
        for (value, field) in numbers.into_iter().zip(2..) {
            writer.int(field, number(value));
        }
        writer.end();
    });
    writer.structure(4, |dns| {
        strings(dns, 0, &result.dns.nameservers);
        dns.bytes(1, &text(&result.dns.domain));
        strings(dns, 2, &result.dns.search);
        strings(dns, 3, &result.dns.options);
    });
}

fn put_net(writer: &mut StructWriter<'_>, net: IpNet) {
    writer.bytes(0, &octets(net.addr())).bytes(1, &octets(net.netmask()));
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A result, or the empty struct that stands for none.
pub(super) fn read_result(value: &Value) -> Result<CniResult, GobError> {
    let fields = value.fields("Result")?;
    let each = |name| fields.list(name).map(|values| values.iter().map(move |value| value.fields(name)));
    Ok(CniResult {
        interfaces: each("Interfaces")?.map(|fields| read_interface(fields?)).collect::<Result<_, _>>()?,
        ips: each("IPs")?.map(|fields| read_ip(fields?)).collect::<Result<_, _>>()?,
        routes: each("Routes")?.map(|fields| read_route(fields?)).collect::<Result<_, _>>()?,
        dns: fields.structure("DNS")?.map(read_dns).transpose()?.unwrap_or_default(),
    })
}

fn read_interface(fields: Fields<'_>) -> Result<Interface, GobError> {
    Ok(Interface {
        name: fields.text("Name")?,
        mac: some_text(fields, "Mac")?,
        mtu: number(fields, "Mtu")?,
        sandbox: some_text(fields, "Sandbox")?,
        socket_path: some_text(fields, "SocketPath")?,
        pci_id: some_text(fields, "PciID")?,
    })
}

fn read_ip(fields: Fields<'_>) -> Result<IpConfig, GobError> {
    Ok(IpConfig {
        interface: number(fields, "Interface")?,
        address: net(fields, "Address")?,
        gateway: address(fields, "Gateway")?,
    })
}

fn read_route(fields: Fields<'_>) -> Result<Route, GobError> {
    Ok(Route {
        dst: net(fields, "Dst")?,
        gw: address(fields, "GW")?,
        mtu: number(fields, "MTU")?,
        advmss: number(fields, "AdvMSS")?,
        priority: number(fields, "Priority")?,
        table: number(fields, "Table")?,
        scope: number(fields, "Scope")?,
    })
}

fn read_dns(fields: Fields<'_>) -> Result<Dns, GobError> {
    let strings = |name: &'static str| {
        let text = |value: &Value| match value {
            Value::Bytes(bytes) => String::from_utf8(bytes.clone()).map_err(|_| GobError::Mismatch(name)),
            _ => Err(GobError::Mismatch(name)),
        };
        fields.list(name)?.iter().map(text).collect::<Result<Vec<_>, _>>()
    };
    Ok(Dns {
        nameservers: strings("Nameservers")?,
        domain: some_text(fields, "Domain")?,
        search: strings("Search")?,
        options: strings("Options")?,
    })
}

fn some_text(fields: Fields<'_>, name: &'static str) -> Result<Option<String>, GobError> {
    fields.text(name).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// A number; 0 is none, which is the same to gob even behind a pointer.
fn number<T: TryFrom<i64>>(fields: Fields<'_>, name: &'static str) -> Result<Option<T>, GobError> {
    match fields.int(name)? {
        0 => Ok(None),
        value => T::try_from(value).map(Some).map_err(|_| GobError::Mismatch(name)),
    }
}

/// `net.IP`: 4 or 16 bytes, or none.
fn address(fields: Fields<'_>, name: &'static str) -> Result<Option<IpAddr>, GobError> {
    let bytes = fields.bytes(name)?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Some(Ipv4Addr::from(v4).into()));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => Ok(Some(Ipv6Addr::from(v6).to_canonical())),
        Err(_) if bytes.is_empty() => Ok(None),
        Err(_) => Err(GobError::Mismatch(name)),
    }
}

/// `net.IPNet`. An IPv4 address in 16 bytes has a mask of 4 bytes, or one of 16.
fn net(fields: Fields<'_>, name: &'static str) -> Result<IpNet, GobError> {
    let mismatch = GobError::Mismatch(name);
    let Some(net) = fields.structure(name)? else { return Err(mismatch) };
    let Some(address) = address(net, "IP")? else { return Err(mismatch) };
    let mask = net.bytes("Mask")?;
    let mask = if address.is_ipv4() && mask.len() == 16 { &mask[12..] } else { mask };
    let bits = mask.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let mask: IpAddr = match (address, mask.len()) {
        (IpAddr::V4(_), 4) => Ipv4Addr::from_bits(bits as u32).into(),
        (IpAddr::V6(_), 16) => Ipv6Addr::from_bits(bits).into(),
        _ => return Err(mismatch),
    };
    IpNet::with_netmask(address, mask).map_err(|_| mismatch)
}
