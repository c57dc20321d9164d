//! The engine against PyTorch's losses.

use super::network::EngineNetwork;
use crate::nn::{BuildOptions, Layer, NetSpec, Network, Schedule, Shape, Target, initialise};

#[test]
fn training_equals_pytorchs() {
    // D = torch.float64
    // def noise(n, seed):
    //     v = (torch.arange(n) * 2654435761 + seed * 40503) & 0xffffffff
    //     v = ((v ^ v >> 15) * 2246822519) & 0xffffffff
    //     return ((v ^ v >> 13) >> 8).to(D) / 2**23 - 1
    // def run(net, side, c, out, labels):                     # decoder and classifier of the peer script, torch 2
    //     for k, p in enumerate(net.parameters()):
    //         fan = p[0].numel() if p.dim() > 1 else fan
    //         w = noise(p.numel(), k) / fan ** 0.5
    //         if p.dim() == 2 and p.shape[1] == 1024: w = w.reshape(-1, 4, 4, 64).permute(0, 3, 1, 2)
    //         p.data = w.reshape(p.shape).clone()
    //     for m in net.modules(): if isinstance(m, nn.Dropout): m.p = 0.0
    //     opt = torch.optim.Adam(net.parameters(), 1e-3); s = OneCycleLR(opt, 2e-3, total_steps=100); res = []
    //     for step in range(100):
    //         x = noise(20 * side * side * c, 50 + step % 4).reshape(20, side, side, c).permute(0, 3, 1, 2)
    //         if labels: loss = F.cross_entropy(net(x), (torch.arange(20) * 7 + step % 4) % 5)
    //         else: y = 0.5 + 0.5 * noise(20 * out * out * 3, 60 + step % 4)
    //               loss = F.mse_loss(net(x), y.reshape(20, out, out, 3).permute(0, 3, 1, 2))
    //         opt.zero_grad(); loss.backward(); opt.step(); s.step(); res.append(loss.item())
    //     print(res[::11])
    // run(decoder(6, 4, 8), 4, 6, 8, False); run(classifier(6, 8, 5), 8, 6, 0, True)
    // In float32 PyTorch's own losses differ from these by up to 9e-4, from rounding alone.
    let noise = |length: u32, seed: u32| -> Vec<f32> {
        let mix = |i: u32| {
            let v = i.wrapping_mul(2_654_435_761).wrapping_add(seed * 40_503);
            let v = (v ^ (v >> 15)).wrapping_mul(2_246_822_519);
            ((v ^ (v >> 13)) >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..length).map(mix).collect()
    };
    let mut classifier = NetSpec::reference_classifier(Shape::new(8, 8, 6), 5).unwrap();
    classifier.layers.retain(|layer| !matches!(layer, Layer::Dropout { .. }));
    let goldens = [
        (
            NetSpec::reference_decoder(Shape::new(4, 4, 6), 8).unwrap(),
            [0.083539, 0.084293, 0.079988, 0.075628, 0.06556, 0.05483, 0.045832, 0.039597, 0.038507, 0.039836],
        ),
        (
            classifier,
            [1.61158, 1.592786, 1.179142, 0.109988, 0.00598, 0.000526, 0.000214, 0.000177, 0.000176, 0.000127],
        ),
    ];
    for (spec, golden) in goldens {
        let mut init = initialise(&spec, 0);
        for (k, (param, shape)) in init.0.iter_mut().zip(spec.param_shapes()).enumerate() {
            let scale = (shape.fan_in as f32).sqrt();
            param.data = noise(shape.len() as u32, k as u32).iter().map(|value| value / scale).collect();
        }
        let mut net = EngineNetwork::new(&spec, &init, &BuildOptions::default()).unwrap();
        for index in 0..100 {
            let x = noise(20 * spec.input.len() as u32, 50 + index % 4);
            let labels: Vec<u32> = (0..20).map(|i| (i * 7 + index % 4) % 5).collect();
            let images: Vec<f32> = noise(20 * 8 * 8 * 3, 60 + index % 4).iter().map(|v| 0.5 + 0.5 * v).collect();
            let is_decoder = spec.output().unwrap().height == 8;
            let target = if is_decoder { Target::Images(&images) } else { Target::Labels(&labels) };
            let step = Schedule::OneCycle { peak: 2e-3 }.at(index.into(), 100);
            let loss = net.train_step(&x, 20, target, step).unwrap();
            if index % 11 == 0 {
                let golden: f32 = golden[index as usize / 11];
                assert!(
                    (loss - golden).abs() < 1e-3 + 0.01 * golden,
                    "step {index}: loss {loss}, PyTorch's is {golden}"
                );
            }
        }
    }
}
